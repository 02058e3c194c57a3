"""``python -m underpaint_picturebook.train {start,vae,judge,clip,unet,export} --run-dir RUN``."""

import argparse
import os
from pathlib import Path
from typing import cast

import torch

from underpaint_picturebook.train import loop, parallel
from underpaint_picturebook.train.data import renders


def _vae(args: argparse.Namespace) -> None:
    from diffusers import AutoencoderTiny

    from underpaint_picturebook.train.vae import VaeTrainer

    torch.manual_seed(args.seed)
    data = renders(args.run_dir / "renders", args.scenes)
    plan = loop.Plan(args.minutes, args.steps, peak=args.peak, warmup=60, average=0.995)
    trainer = VaeTrainer(data, args.device, freeze_encoder=args.freeze_encoder)
    average = loop.run(trainer, plan, args.run_dir / "vae", args.seed)
    vae = cast("AutoencoderTiny", average.vae)
    if parallel.rank() == 0:
        vae.save_pretrained(args.run_dir / "vae" / "export")


def _unet(args: argparse.Namespace) -> None:
    from diffusers import AutoencoderTiny

    from underpaint_picturebook import parts, tokenizer
    from underpaint_picturebook.train.latents import latents
    from underpaint_picturebook.train.unet import UnetTrainer

    torch.manual_seed(args.seed)
    tokens = tokenizer.build()
    vae = AutoencoderTiny.from_pretrained(args.run_dir / "vae" / "export").to(args.device)
    drawn = renders(args.run_dir / "renders", args.scenes)
    data = latents(args.run_dir / "latents.safetensors", drawn, vae, tokens, args.device)
    pipe = parts.pipeline(tokens, parts.text_encoder(tokens), vae, parts.unet())
    trainer = UnetTrainer(data, pipe, args.device, args.batch or 32)
    plan = loop.Plan(
        args.minutes, args.steps, peak=args.peak, warmup=300, hold=0.4, weight_decay=0.01
    )
    loop.run(trainer, plan, args.run_dir / "unet", args.seed)


def _judge(args: argparse.Namespace) -> None:
    from underpaint_picturebook.judge import WEIGHTS
    from underpaint_picturebook.train.judge import JudgeTrainer, export

    torch.manual_seed(args.seed)
    trainer = JudgeTrainer(renders(args.run_dir / "renders", args.scenes), args.device)
    plan = loop.Plan(args.minutes, args.steps, peak=2e-3, warmup=100, average=0.995)
    average = loop.run(trainer, plan, args.run_dir / "judge", args.seed)
    if parallel.rank() == 0:
        export(average.net, WEIGHTS)  # type: ignore[arg-type]


def _clip(args: argparse.Namespace) -> None:
    from underpaint_picturebook import model, parts, tokenizer
    from underpaint_picturebook.train.clip import ClipTrainer, export

    torch.manual_seed(args.seed)
    tokens = tokenizer.build()
    data = renders(args.run_dir / "renders", args.scenes)
    batch = args.batch or 128
    trainer = ClipTrainer(
        data, parts.clip(tokens), tokens, device=args.device, batch=batch, patches=args.patches
    )
    plan = loop.Plan(
        args.minutes, args.steps, peak=args.peak, warmup=100, weight_decay=0.01, average=0.995
    )
    average = loop.run(trainer, plan, args.run_dir / "clip", args.seed)
    if parallel.rank() == 0:
        export(average.clip, model() / "clip")


def _start(args: argparse.Namespace) -> None:
    from underpaint_picturebook import model
    from underpaint_picturebook.train.start import start

    start(model(), args.run_dir)


def _export(args: argparse.Namespace) -> None:
    from underpaint_picturebook import model
    from underpaint_picturebook.train.export import export

    export(args.run_dir, model())


def main() -> None:
    """Parse the command line and train one part."""
    parser = argparse.ArgumentParser(prog="python -m underpaint_picturebook.train")
    parser.add_argument("part", choices=["start", "vae", "unet", "judge", "clip", "export"])
    parser.add_argument("--run-dir", type=Path, default=Path("picturebook-run"))
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--steps", type=int, help="train so many steps, in place of --minutes")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=16_000, help="training scenes to draw")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--freeze-encoder", action="store_true", help="train the decoder alone (vae)"
    )
    parser.add_argument("--batch", type=int, help="scenes a step and process (unet, clip)")
    parser.add_argument(
        "--patches", type=float, default=0.5, help="share of the patches seen at a time (clip)"
    )
    parser.add_argument("--peak", type=float, default=1e-3, help="highest learning rate")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    commands = {
        "start": _start, "vae": _vae, "unet": _unet, "judge": _judge, "clip": _clip,
        "export": _export,
    }  # fmt: skip
    commands[args.part](args)


if __name__ == "__main__":
    main()
