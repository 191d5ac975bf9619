// Package e2e has the tests that run both binaries through their host CLIs, on a real Swarm and a
// real Kubernetes: eval "$(scripts/testbed env)". It has no code of its own.
//
// With the tag e2e it has one script for each thing that a user wants (testdata/*.txtar), the tests
// of signals and the search for leaked values; with the tag soak the long campaigns; with the tag
// corpus what comes out of public files. What the binaries did is always looked at by other means:
// kubectl, the APIs, and jobs that print digests of what they see in /run/secrets.
package e2e
