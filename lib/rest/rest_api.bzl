"""What a service serves over REST: its list of gRPC services, and the OpenAPI document made from their protos."""

def rest_api(name, namespace, title, services, protos, deps):
    """Makes {name}.h with `rest::Server::Options RestApi()` in the namespace.

    Args:
      name: of the cc_library, and of the header in its package.
      namespace: as "parley::taskd".
      title: of the document.
      services: full names.
      protos: .proto files that declare them, by their import path.
      deps: the cc_protos libraries of those.
    """
    native.genrule(
        name = name + "_generate",
        srcs = ["//proto:protos"],
        outs = [name + ext for ext in [".h", ".cc", ".json", ".descriptors"]],
        cmd = " && ".join([
            " ".join([
                "protoc --include_imports --include_source_info -Iproto",
                "-I/usr/share/gocode/src/github.com/gogo/googleapis -I/usr/include",
                "--descriptor_set_out=$(RULEDIR)/%s.descriptors" % name,
            ] + protos),
            " ".join([
                "$(location //lib/rest:generate_api)",
                "$(RULEDIR)/%s.descriptors" % name,
                "$(RULEDIR)/%s" % name,
                native.package_name() + "/" + name,
                namespace,
                "'%s'" % title,
            ] + services),
        ]),
        exec_tools = ["//lib/rest:generate_api"],
        message = "Describing the REST API of",
    )
    native.cc_library(
        name = name,
        srcs = [name + ".cc"],
        hdrs = [name + ".h"],
        deps = ["//lib/rest"] + deps,
    )
