"""C++ messages and gRPC stubs from .proto files, by Debian's protoc and plugin."""

def cc_protos(name, srcs, services = [], deps = [], root = "", private = False, **kwargs):
    """Generates and compiles one library.

    Args:
      name: of the cc_library.
      srcs: .proto files with messages, by their import path.
      services: .proto files that also declare a service.
      deps: other cc_protos libraries whose files these import.
      root: folder outside the tree that the import paths start from; the package itself when empty.
      private: for files of one folder's own, outside the public API: they are included from the workspace's root,
        as "lib/keys/credential.pb.h", and may import what //proto has.
      **kwargs: for the cc_library.
    """
    stems = [src[:-len(".proto")] for src in srcs + services]
    outs = [stem + ext for stem in stems for ext in [".pb.h", ".pb.cc"]]
    grpc_stems = [src[:-len(".proto")] for src in services]
    outs += [stem + ext for stem in grpc_stems for ext in [".grpc.pb.h", ".grpc.pb.cc"]]
    here = native.package_name()
    # Where another workspace that uses this one finds it.
    repository = native.repository_name()
    tree = "" if repository == "@" else "external/" + repository[1:]
    below_tree = tree + "/" if tree else ""
    protos = [dep + "_protos" for dep in deps if dep.startswith(":") or dep.startswith("//proto:")]
    googleapis = "/usr/share/gocode/src/github.com/gogo/googleapis"
    if private:
        import_paths = ["-I" + (tree or "."), "-I" + below_tree + "proto"]
    else:
        import_paths = ["-I" + (root or below_tree + here)]
    prefix = here + "/" if private else ""
    inputs = [prefix + src for src in srcs + services]
    out_dir = ("$(BINDIR)/" + tree if tree else "$(BINDIR)") if private else "$(RULEDIR)"
    command = ["protoc"] + import_paths + ["-I" + googleapis, "-I/usr/share/grpc-proto", "-I/usr/include"]
    native.genrule(
        name = name + "_generate",
        srcs = [] if root else srcs + services + protos,
        outs = outs,
        cmd = " && ".join(
            [" ".join(command + ["--cpp_out=" + out_dir] + inputs)] +
            ([" ".join(command + [
                "--plugin=protoc-gen-grpc=/usr/bin/grpc_cpp_plugin",
                "--grpc_out=" + out_dir,
            ] + [prefix + src for src in services])] if services else []),
        ),
        message = "Generating C++ from",
    )
    native.filegroup(
        name = name + "_protos",
        srcs = [] if root else srcs + services + protos,
        visibility = ["//visibility:public"],
    )
    native.cc_library(
        name = name,
        srcs = [out for out in outs if out.endswith(".cc")],
        hdrs = [out for out in outs if out.endswith(".h")],
        copts = ["-Wno-unused-parameter"],
        includes = [] if private else ["."],
        deps = deps + ["//third_party:grpc" if services else "//third_party:protobuf"],
        **kwargs
    )
