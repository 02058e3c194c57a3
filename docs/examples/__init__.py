"""Examples that the pages show and the tests run."""
