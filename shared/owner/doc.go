// Package owner names the process that something was made by, so that a later run can tell whether
// anybody still needs it: a probe's job, a rollout that is under way. It imports nothing but the standard
// library.
package owner
