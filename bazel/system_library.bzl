"""Repositories over what Debian has installed."""

def _system_headers_impl(ctx):
    include_dir = ctx.path(ctx.attr.include_dir)
    if not include_dir.exists:
        fail("%s is missing; tools/install installs it" % ctx.attr.include_dir)
    ctx.symlink(include_dir, "include")
    ctx.symlink(ctx.attr.build_file, "BUILD.bazel")

system_headers = repository_rule(
    implementation = _system_headers_impl,
    attrs = {
        "build_file": attr.label(mandatory = True),
        "include_dir": attr.string(mandatory = True),
    },
    doc = "A repository whose include/ is a system folder that the compiler does not search by itself.",
    local = True,
)
