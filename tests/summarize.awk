# Counts the test cases in ctest's LastTest.log: gtest's lines, or the program itself where there are none.
#
# In:  KERNEL_TESTS, names of the kernel tests, one a line; REQUIRE_KERNEL, not 0: one of them skipped has failed.
# Out: "F name: why" per failure, "S name: why" per skip, at the end "T passed failed skipped".
# A program of no gtest skips with the line "SKIP: why".

BEGIN {
  count = split(ENVIRON["KERNEL_TESTS"], names, "\n")
  for (i = 1; i <= count; ++i) is_kernel[names[i]] = 1
}
function add_skip(test, reason) {
  if (ENVIRON["REQUIRE_KERNEL"] != "0" && is_kernel[program]) {
    ++failed
    printf "F %s: skipped, and kernel tests are required here: %s\n", test, reason
  } else {
    ++skipped
    printf "S %s: %s\n", test, reason
  }
}
# A failure that no gtest line tells of: a crash, a time-out, a sanitizer, a script.
function finish() {
  if (program == "") return
  if (result == "failed" && own_failed == 0) {
    ++failed
    printf "F %s: %s\n", program, running == "" ? why : "ended in " running
  } else if (cases == 0 && reason != "") {
    add_skip(program, reason)
  } else if (cases == 0) {
    ++passed
  }
  program = ""
}
/^[0-9]+\/[0-9]+ Testing: / {
  finish()
  program = $0
  sub(/^[^:]*: /, "", program)
  result = "failed"
  why = "failed as a whole"
  running = ""
  cases = own_failed = 0
  in_output = taking_reason = missing = 0
  reason = ""
  next
}
!in_output && /^Command: ""$/ { missing = 1; why = "no such program"; next }
!in_output && /^Output:$/ { in_output = 1; next }
/<end of output>/ { in_output = taking_reason = 0; next }
in_output && /^\[ RUN      \]/ { running = $0; sub(/^\[ RUN      \] /, "", running); reason = ""; taking_reason = 0; next }
in_output && /^\[       OK \]/ { ++passed; ++cases; running = ""; next }
in_output && /^\[  FAILED  \] .*[)]$/ && / ms[)]$/ {
  ++failed; ++own_failed; ++cases
  running = ""
  sub(/^\[  FAILED  \] /, ""); sub(/ \([0-9]+ ms\)$/, "")
  printf "F %s: %s\n", program, $0
  next
}
in_output && /^\[  SKIPPED \] .* \([0-9]+ ms\)$/ {
  ++cases
  running = ""
  sub(/^\[  SKIPPED \] /, ""); sub(/ \([0-9]+ ms\)$/, "")
  add_skip($0, reason == "" ? "no reason given" : reason)
  taking_reason = 0
  reason = ""
  next
}
in_output && /: Skipped$/ { taking_reason = 1; reason = ""; next }
in_output && /^SKIP: / { reason = substr($0, 7); next }
in_output && taking_reason && NF { reason = reason (reason == "" ? "" : " ") $0; next }
# Also said of programs that were skipped, or were not there.
!in_output && /^Test Pass(ed\.| Reason:)$/ && !missing { result = "passed" }
END {
  finish()
  printf "T %d %d %d\n", passed, failed, skipped
}