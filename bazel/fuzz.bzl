"""Fuzz targets that are ordinary tests too."""

def cc_fuzz_test(name, srcs, corpus, deps = [], **kwargs):
    """A libFuzzer target (LLVMFuzzerTestOneInput) with a corpus.

    An ordinary build makes a test that replays the corpus and a bounded, always equal set of mutations of it.
    To search for new inputs (new ones are added to the corpus's folder):

        bazel run --config=fuzz //lib/keys:identity_fuzz_test -- -max_total_time=60 $PWD/tests/fuzz/corpus/identity

    Args:
      name: of the test; ends in _fuzz_test.
      srcs: with LLVMFuzzerTestOneInput.
      corpus: folder below tests/fuzz/corpus; it must hold at least one file.
      deps: of the test.
      **kwargs: for the cc_test.
    """
    native.cc_test(
        name = name,
        size = "small",
        srcs = srcs,
        args = select({
            "//bazel:fuzzing": [],
            "//conditions:default": ["tests/fuzz/corpus/" + corpus],
        }),
        data = ["//tests/fuzz:corpus_" + corpus],
        linkopts = select({
            "//bazel:fuzzing": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        tags = ["fuzz"],
        deps = deps + select({
            "//bazel:fuzzing": [],
            "//conditions:default": ["//tests/fuzz:replay_main"],
        }),
        **kwargs
    )
