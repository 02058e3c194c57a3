import pytest
from hypothesis import settings
from underpaint.cache_folder import FOLDER_VARIABLE
from underpaint.testing import ToyEngine

settings.register_profile("busy", deadline=None)  # a busy machine is no failure
settings.load_profile("busy")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))


@pytest.fixture
def calls(monkeypatch):
    """Count the UNet's rows, call by call."""
    rows = []
    predict = ToyEngine.predict

    def counted(self, call):
        rows.append(len(call.sample))
        return predict(self, call)

    monkeypatch.setattr(ToyEngine, "predict", counted)
    return rows
