#include "tests/kubernetes/harness/fixture.h"

int main(int argc, char** argv) { return weir::kubernetes_test::RunKubernetesTests(argc, argv); }
