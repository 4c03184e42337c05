"""Make the picture of the method that opens every notebook, each with that notebook's part lit.

python tools/method_picture.py           write notebooks/figures/method*.svg where they are out of date
python tools/method_picture.py --check   change nothing; fail when one is missing, out of date or nobody's

Another version of torch or of the JPEG library may give a pixel of a photograph another last digit. So they
count as out of date only where they look different; everything else is compared to the letter.
"""

import argparse
import base64
import io
import re
import sys
from pathlib import Path

import nbtools
import numpy as np
from PIL import Image

from simclr_edu.course.figures import method

FOLDER = nbtools.NOTEBOOKS / "figures"
PHOTOGRAPH = re.compile(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)")
ALIKE = 3.0  # mean difference of pixels, of 255


def photographs(svg: str) -> list[np.ndarray]:
    """Return the photographs in a picture, ``(H, W, 3)`` each."""
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), dtype=float)
        for data in PHOTOGRAPH.findall(svg)
    ]


def same_picture(a: str, b: str) -> bool:
    """Whether two pictures agree to the letter, their photographs to the eye."""
    if PHOTOGRAPH.sub("", a) != PHOTOGRAPH.sub("", b):
        return False
    pairs = list(zip(photographs(a), photographs(b), strict=True))
    return all(x.shape == y.shape and np.abs(x - y).mean() <= ALIKE for x, y in pairs)


def wanted() -> dict[str, str]:
    """Return the pictures, by the names of their files."""
    return {method.file_name(notebook): method.method_picture(notebook) for notebook in method.LIT}


def problems(folder: Path, pictures: dict[str, str]) -> list[str]:
    """Say in a sentence each what is wrong with the files in a folder."""
    found = {path.name: path for path in folder.glob("method*.svg")}
    said = [f"{name} is missing" for name in pictures if name not in found]
    said += [f"{name} belongs to no notebook" for name in found if name not in pictures]
    said += [
        f"{name} is out of date"
        for name, path in found.items()
        if name in pictures and not same_picture(path.read_text(encoding="utf-8"), pictures[name])
    ]
    return sorted(said)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 when a picture has to be made again."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing; fail when one is out of date")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pictures lie")
    options = parser.parse_args(arguments)
    pictures = wanted()
    said = problems(options.folder, pictures)
    if options.check:
        ways = (
            [*said, "make figures writes them anew"] if said else ["the picture of the method is up to date"]
        )
        print("\n".join(ways))
        return 1 if said else 0
    options.folder.mkdir(parents=True, exist_ok=True)
    for problem in said:
        path = options.folder / problem.split()[0]
        if path.name in pictures:
            path.write_text(pictures[path.name], encoding="utf-8", newline="\n")
            print(f"{path.name} written")
        else:
            path.unlink()
            print(f"{path.name} removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
