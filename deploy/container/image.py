"""Makes an image of the Dockerfile beside this file, as an engine would, but the same bytes each time.

    image.py CONTEXT OUTPUT.tar TARGETARCH=amd64 [NAME=VALUE...]

It knows the instructions that the Dockerfile has, and refuses any other. What comes out is an OCI layout in a tar file
that has the manifest of `docker save` as well, so that every engine and tool reads it.
"""

import gzip
import hashlib
import io
import json
import os
import re
import shlex
import sys
import tarfile
from datetime import datetime, timezone
from pathlib import Path

TIME = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
UNITS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def instructions(text):
    """Each instruction with what follows it; comments are left out, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    for line in filter(None, map(str.strip, joined.splitlines())):
        name, _, rest = line.partition(" ")
        yield name.upper(), rest.strip()


def expand(text, arguments):
    """The text with $NAME and ${NAME} replaced; a name that nobody has given is a mistake."""
    return re.sub(r"\$\{(\w+)\}|\$(\w+)", lambda found: arguments[found[1] or found[2]], text)


def nanoseconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", text).groups()
    return int(number) * UNITS[unit]


def pairs(text):
    """NAME="a value" NAME=value"""
    return dict(word.split("=", 1) for word in shlex.split(text))


def add(layer, name, content, mode, owner):
    """One entry of the layer; a folder if it has no content."""
    entry = tarfile.TarInfo(name)
    entry.mtime, entry.mode = TIME, mode
    entry.uid, entry.gid = owner
    if content is None:
        entry.type = tarfile.DIRTYPE
        layer.addfile(entry)
    else:
        entry.size = len(content)
        layer.addfile(entry, io.BytesIO(content))


class Image:
    """What the instructions come to."""

    def __init__(self, context, arguments):
        self.context = context
        self.arguments = arguments
        self.layers = []
        self.config = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Labels": {}}
        self.history = []

    def do(self, name, rest):
        known = {
            "FROM": self.base, "ARG": self.argument, "LABEL": self.label, "COPY": self.copy, "ENV": self.environment,
            "VOLUME": self.volume, "HEALTHCHECK": self.health,
        }
        keys = {"WORKDIR": "WorkingDir", "USER": "User", "STOPSIGNAL": "StopSignal"}
        lists = {"ENTRYPOINT": "Entrypoint", "CMD": "Cmd"}
        if name in known:
            known[name](rest)
        elif name in keys:
            self.config[keys[name]] = expand(rest, self.arguments)
        elif name in lists:
            self.config[lists[name]] = json.loads(rest)
        else:
            sys.exit(f"error: the Dockerfile has {name}, which image.py does not know")
        if name not in ("FROM", "ARG"):
            step = {"created": created(), "created_by": " ".join(f"{name} {expand(rest, self.arguments)}".split())}
            self.history.append(step if name == "COPY" else step | {"empty_layer": True})

    def base(self, rest):
        if rest != "scratch":
            sys.exit(f"error: the Dockerfile is FROM {rest}; image.py can only begin from scratch")

    def argument(self, rest):
        name, _, usual = rest.partition("=")
        self.arguments.setdefault(name, usual)

    def label(self, rest):
        self.config["Labels"] |= pairs(expand(rest, self.arguments))

    def environment(self, rest):
        self.config["Env"] += [f"{name}={value}" for name, value in pairs(expand(rest, self.arguments)).items()]

    def volume(self, rest):
        self.config["Volumes"] = {path: {} for path in json.loads(rest)}

    def health(self, rest):
        options, command = re.fullmatch(r"(.*?)\s*CMD (.*)", rest).groups()
        check = {"Test": ["CMD", *json.loads(command)]}
        names = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}
        for option, value in re.findall(r"--([\w-]+)=(\w+)", options):
            if option == "retries":
                check["Retries"] = int(value)
            else:
                check[names[option]] = nanoseconds(value)
        self.config["Healthcheck"] = check

    def copy(self, rest):
        words = expand(rest, self.arguments).split()
        owner = (0, 0)
        if words[0].startswith("--chown="):
            user, _, group = words.pop(0).removeprefix("--chown=").partition(":")
            owner = (int(user), int(group or user))
        source, place = words
        folder, place = self.context / source, place.strip("/")
        if not folder.is_dir():
            sys.exit(f"error: {folder}, which the Dockerfile copies, is no folder")
        entries = {}
        if place:
            entries[place] = (None, 0o755, owner)
        for path in folder.rglob("*"):
            name = "/".join(filter(None, [place, path.relative_to(folder).as_posix()]))
            content = None if path.is_dir() else path.read_bytes()
            entries[name] = (content, path.stat().st_mode & 0o777, owner)
        self.layers.append(as_tar(entries))


def as_tar(entries):
    """What is copied, as a tar file: of each path the content (none for a folder), the mode, and whose it is."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.USTAR_FORMAT) as layer:
        for name in sorted(entries):
            add(layer, name, *entries[name])
    return output.getvalue()


def created():
    return datetime.fromtimestamp(TIME, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def descriptor(kind, content, blobs, **more):
    """Puts a blob among the others, and says what it is."""
    digest = hashlib.sha256(content).hexdigest()
    blobs[f"blobs/sha256/{digest}"] = content
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)} | more


def encoded(value):
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def write(image, output, arguments):
    blobs = {}
    platform = {"os": "linux", "architecture": arguments["TARGETARCH"]}
    if arguments.get("TARGETVARIANT"):
        platform["variant"] = arguments["TARGETVARIANT"]
    layers = [
        descriptor("application/vnd.oci.image.layer.v1.tar+gzip", gzip.compress(layer, mtime=0), blobs)
        for layer in image.layers
    ]
    config = platform | {
        "created": created(),
        "config": image.config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in image.layers]},
        "history": image.history,
    }
    config = descriptor("application/vnd.oci.image.config.v1+json", encoded(config), blobs)
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = encoded({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers})
    name = f"kstar-collector:{arguments['VERSION']}"
    notes = {"org.opencontainers.image.ref.name": arguments["VERSION"], "io.containerd.image.name": f"docker.io/library/{name}"}
    manifest = descriptor(kind, manifest, blobs, platform=platform, annotations=notes)
    path = lambda blob: f"blobs/{blob['digest'].replace(':', '/')}"
    files = blobs | {
        "oci-layout": encoded({"imageLayoutVersion": "1.0.0"}),
        "index.json": encoded({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest],
        }),
        "manifest.json": encoded([
            {"Config": path(config), "RepoTags": [name], "Layers": [path(layer) for layer in layers]},
        ]),
    }
    folders = {"blobs": None, "blobs/sha256": None}
    entries = {name: (content, 0o755 if content is None else 0o644, (0, 0)) for name, content in (files | folders).items()}
    output.write_bytes(as_tar(entries))
    print(f"{output.stat().st_size:10} bytes  {output}")


def main():
    context, output = Path(sys.argv[1]), Path(sys.argv[2])
    arguments = dict(word.split("=", 1) for word in sys.argv[3:])
    image = Image(context, arguments)
    for name, rest in instructions((Path(__file__).parent / "Dockerfile").read_text()):
        image.do(name, rest)
    write(image, output, arguments)


if __name__ == "__main__":
    main()
