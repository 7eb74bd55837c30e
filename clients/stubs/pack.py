"""Packs generated stubs as another team installs them: pack.py LANGUAGE --version V --out FILE PROTO…

Everything comes from Debian's protoc and plugins. The same sources give the same bytes: no archive holds a time, a user
or a path of the machine that made it.
"""

import argparse
import base64
import gzip
import hashlib
import io
import json
import pathlib
import re
import subprocess
import tarfile
import tempfile
import zipfile

# Where imports are looked for, after our own.
IMPORT_FOLDERS = ("/usr/share/gocode/src/github.com/gogo/googleapis", "/usr/include")
# Errors carry these, whether or not a message of ours names them.
ERROR_PROTOS = ("google/rpc/code.proto", "google/rpc/error_details.proto", "google/rpc/status.proto")
IMPORT = re.compile(r'^import\s+(?:public\s+)?"([^"]+)"\s*;', re.MULTILINE)
# Google's beyond protobuf itself, which each language has as a package of its own: these are Go's.
GO_PACKAGES = {
    "google/api/annotations.proto": "google.golang.org/genproto/googleapis/api/annotations",
    "google/api/http.proto": "google.golang.org/genproto/googleapis/api/annotations",
}
# Zip cannot say an earlier time.
NO_TIME = (1980, 1, 1, 0, 0, 0)
JAVA_FOLDER = pathlib.Path("/usr/share/java")
JAVA_LIBRARIES = ("protobuf", "grpc-api", "grpc-stub", "grpc-protobuf", "guava", "geronimo-annotation-1.3-spec")


class Protos:
    """The .proto files to pack, by import path, and what they import."""

    def __init__(self, root, files, plugins=()):
        self.root, self.plugins = pathlib.Path(root), plugins
        self.ours = sorted(str(pathlib.Path(file).relative_to(root)) for file in files)
        self.folders = [self.root, *map(pathlib.Path, IMPORT_FOLDERS)]

    def read(self, name):
        for folder in self.folders:
            if (folder / name).exists():
                return (folder / name).read_bytes()
        raise FileNotFoundError("%s is imported and in none of %s" % (name, ", ".join(map(str, self.folders))))

    def closure(self):
        """{import path: content} of ours, of all that they need, and of what errors carry."""
        return self._closure([*self.ours, *ERROR_PROTOS])

    def imported(self):
        """Import paths of what ours need that is neither ours nor protobuf's own."""
        return [name for name in self._closure(self.ours)
                if name not in self.ours and not name.startswith("google/protobuf/")]

    def _closure(self, names):
        found, waiting = {}, list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = self.read(name)
                waiting += IMPORT.findall(found[name].decode())
        return dict(sorted(found.items()))

    def with_services(self):
        return [name for name in self.ours if re.search(r"^service \w+", self.read(name).decode(), re.MULTILINE)]

    def generate(self, names, *options):
        """{path: content} of what protoc writes for `names`; OUT in an option stands for its folder."""
        with tempfile.TemporaryDirectory() as out:
            subprocess.run(["protoc", *("-I%s" % folder for folder in self.folders),
                            *("--plugin=%s" % plugin for plugin in self.plugins),
                            *(option.replace("OUT", out) for option in options), *names], check=True)
            return read_tree(out)


def read_tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(pathlib.Path(folder).rglob("*")) if path.is_file()}


def tar_gz(files):
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, content in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


def zipped(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path, NO_TIME)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, content)
    return out.getvalue()


def protos(sources, version):
    """Ours, and every file that they import: enough for any protoc, buf or grpcurl -proto."""
    prefix = "parley-protos-%s/" % version
    return tar_gz({prefix + name: content for name, content in sources.closure().items()})


def python(sources, version):
    """A wheel: pip install it."""
    files = sources.generate(sources.ours, "--python_out=OUT", "--pyi_out=OUT")
    files.update(sources.generate(sources.with_services(), "--plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin",
                                  "--grpc_out=OUT"))
    for path in list(files):
        for folder in pathlib.PurePath(path).parents:
            if folder.name:
                files.setdefault(str(folder / "__init__.py"), b"")
    info = "parley_api-%s.dist-info/" % version
    files[info + "METADATA"] = (
        "Metadata-Version: 2.1\nName: parley-api\nVersion: %s\nSummary: gRPC stubs of Parley\nLicense: Apache-2.0\n"
        "Requires-Python: >=3.8\nRequires-Dist: grpcio>=1.51\nRequires-Dist: protobuf>=4.21\n"
        "Requires-Dist: googleapis-common-protos>=1.56\n" % version).encode()
    files[info + "WHEEL"] = b"Wheel-Version: 1.0\nGenerator: parley\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join("%s,sha256=%s,%d\n" % (path, digest(content), len(content))
                     for path, content in sorted(files.items()))
    files[info + "RECORD"] = (record + info + "RECORD,,\n").encode()
    return zipped(dict(sorted(files.items())))


def digest(content):
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def go(sources, version):
    """A module to unpack beside one's own and to name in a replace directive.

    Its path has no dot, so that no go command ever asks the network for it: nobody can put another in its place.
    """
    mapped = ["--go%s_opt=M%s=%s" % (plugin, *pair) for plugin in ("", "-grpc") for pair in GO_PACKAGES.items()]
    files = sources.generate(sources.ours, "--go_out=OUT", "--go-grpc_out=OUT", *mapped)
    files["parley/go.mod"] = (b"module parley\n\ngo 1.19\n\nrequire (\n\tgoogle.golang.org/grpc v1.64.1\n"
                              b"\tgoogle.golang.org/genproto/googleapis/api v0.0.0-20240318140521-94a12d6c2237\n"
                              b"\tgoogle.golang.org/protobuf v1.28.1\n)\n")
    return tar_gz(files)


NODE_INDEX = """'use strict';
// The API as @grpc/grpc-js has it: new (require('parley-api').task.v1.TaskService)(address, credentials).
const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const definition = loader.loadSync(%s, {
  includeDirs: [path.join(__dirname, 'protos')],
  // 64-bit numbers as strings, which lose nothing; enums by name; fields that were not sent with their defaults.
  longs: String, enums: String, defaults: true, oneofs: true,
});
module.exports = grpc.loadPackageDefinition(definition).parley;
"""


def node(sources, version):
    """An npm package: npm install it. grpc-js reads the protos when it is loaded."""
    manifest = {
        "name": "parley-api", "version": version, "description": "gRPC stubs of Parley", "license": "Apache-2.0",
        "main": "index.js", "engines": {"node": ">=18"},
        "dependencies": {"@grpc/proto-loader": ">=0.7.0 <0.9.0"},
        # The program's own: credentials of another copy are refused.
        "peerDependencies": {"@grpc/grpc-js": "^1.10.0"},
    }
    files = {"package/protos/" + name: content for name, content in sources.closure().items()}
    files["package/package.json"] = (json.dumps(manifest, indent=2) + "\n").encode()
    files["package/index.js"] = (NODE_INDEX % json.dumps(sources.ours, indent=2).replace('"', "'")).encode()
    return tar_gz(files)


POM = """<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev.parley</groupId>
  <artifactId>parley-api</artifactId>
  <version>%s</version>
  <description>gRPC stubs of Parley</description>
  <dependencies>
    <dependency>
      <groupId>io.grpc</groupId><artifactId>grpc-protobuf</artifactId><version>1.64.1</version>
    </dependency>
    <dependency>
      <groupId>io.grpc</groupId><artifactId>grpc-stub</artifactId><version>1.64.1</version>
    </dependency>
  </dependencies>
</project>
"""


def java(sources, version):
    """A Maven repository with one artifact, for a <repository> of the form file://… or for a company's own."""
    generated = sources.generate(sources.ours, "--java_out=OUT")
    generated.update(sources.generate(sources.with_services(), "--plugin=protoc-gen-grpc=/usr/bin/grpc_java_plugin",
                                      "--grpc_out=OUT"))
    # Needed to compile; who uses it has it from grpc-protobuf.
    beside = sources.generate(sources.imported(), "--java_out=OUT") if sources.imported() else {}
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for path, content in sorted({**generated, **beside}.items()):
            source = pathlib.Path(folder) / "source" / path
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_bytes(content)
            names.append(str(source))
        libraries = [str(JAVA_FOLDER / (name + ".jar")) for name in JAVA_LIBRARIES]
        subprocess.run(["javac", "-nowarn", "-proc:none", "-Xlint:none", "--release", "11", "-encoding", "UTF-8", "-cp",
                        ":".join(libraries), "-d", folder + "/classes", *names], check=True)
        classes = {path: content for path, content in read_tree(folder + "/classes").items()
                   if path.startswith("dev/parley/")}
    manifest = {"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\r\nAutomatic-Module-Name: dev.parley.api\r\n\r\n"}
    stem = "parley-maven/dev/parley/parley-api/%s/parley-api-%s" % (version, version)
    files = {
        stem + ".jar": zipped({**manifest, **classes}),
        stem + "-sources.jar": zipped({**manifest, **generated}),
        stem + ".pom": (POM % version).encode(),
    }
    for path, content in list(files.items()):
        files[path + ".sha1"] = hashlib.sha1(content).hexdigest().encode()
    return tar_gz(files)


LANGUAGES = {"go": go, "java": java, "node": node, "protos": protos, "python": python}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("language", choices=LANGUAGES)
    parser.add_argument("--version", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--root", default="proto")
    parser.add_argument("--plugin", action="append", default=[], help="NAME=PATH, as protoc takes it")
    parser.add_argument("protos", nargs="+")
    arguments = parser.parse_args()
    sources = Protos(arguments.root, arguments.protos, arguments.plugin)
    pathlib.Path(arguments.out).write_bytes(LANGUAGES[arguments.language](sources, arguments.version))


if __name__ == "__main__":
    main()
