"""A chat on the command line that may be killed and run again: ``python app.py [QUESTION]``.

With a question it has an answer written, by a process of its own, and follows it. Without one it
goes on with the last answer, where it stopped.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

from streamhub import ProducerFailed, ProducerLost, StreamHubError
from streamhub.sync import Hub

FOLDER = Path(__file__).parent
PLACE = FOLDER / "place.json"
URL = os.environ.setdefault("STREAMHUB_URL", "redis://localhost:6379/0")


def begin(question: str) -> str:
    """Have an answer written that goes on whatever happens to this process; its session."""
    session = f"cli:{uuid4().hex}"
    answer = [sys.executable, str(FOLDER / "model.py"), question]
    subprocess.Popen(
        [sys.executable, "-m", "streamhub", "run", "--quiet", session, "--", *answer],
        start_new_session=True,  # a Ctrl-C here is not one there
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return session


def keep(session: str, cursor: str | None) -> None:
    """What was shown of which answer. A kill leaves the old file or the new one."""
    new = PLACE.with_suffix(".new")
    new.write_text(json.dumps({"session": session, "cursor": cursor}))
    new.replace(PLACE)


def follow(session: str, after: str | None) -> str:
    """Show what comes after a cursor; how the answer ended."""
    with Hub.from_url(URL) as hub:
        stream = hub.get(session, wait=30)  # its process may be about to begin
        if stream is None:
            return "no such answer"
        chunks = stream.subscribe(after=after)
        try:
            for chunk in chunks:
                print(chunk.data, end="", flush=True)
                keep(session, str(chunk.cursor))
        except (ProducerFailed, ProducerLost) as error:
            return str(error)
        return str(chunks.status)


def main() -> None:
    if len(sys.argv) > 1:
        session, cursor = begin(" ".join(sys.argv[1:])), None
        keep(session, cursor)
    elif PLACE.exists():
        place = json.loads(PLACE.read_text())
        session, cursor = place["session"], place["cursor"]
    else:
        sys.exit("usage: python app.py QUESTION")
    try:
        print(f"\n[{follow(session, cursor)}]")
    except StreamHubError as error:
        sys.exit(str(error))  # no Redis is there, or its URL is wrong
    except KeyboardInterrupt:
        sys.exit("\nThe answer goes on. To read the rest: python app.py")


if __name__ == "__main__":
    main()
