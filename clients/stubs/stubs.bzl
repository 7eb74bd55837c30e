"""Archives of generated stubs."""

def stub_archive(name, out, version, plugins = []):
    """Packs the whole public API for one language.

    Args:
      name: of the target, and the language as pack.py knows it.
      out: the archive.
      version: of the archive.
      plugins: protoc plugins built here, by the names that protoc knows them by.
    """
    native.genrule(
        name = name,
        srcs = ["//proto:protos"],
        outs = [out],
        cmd = " ".join(
            ["$(location :pack)", name, "--version", version, "--out $@"] +
            ["--plugin=%s=$(location :%s)" % (plugin, plugin) for plugin in plugins] +
            ["$(SRCS)"],
        ),
        exec_tools = [":pack"] + [":" + plugin for plugin in plugins],
        message = "Packing stubs for",
    )
