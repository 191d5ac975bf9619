#!/bin/sh
# The lab's app.py in the words of a shell: says who it is and which password
# it was given through a file. Ends with an error when either is missing.
set -eu
echo '***** Docker Secrets ******'
echo "USERNAME: ${USERNAME?}"
if ! [ -s "${PASSWORD_FILE?}" ]; then
	echo "$PASSWORD_FILE: missing or empty" >&2
	exit 1
fi
# Command substitution drops a final newline. The x behind it keeps it, for
# the blank line that app.py prints, too.
password=$(head -n 1 "$PASSWORD_FILE" && echo x)
echo "PASSWORD_FILE: $PASSWORD_FILE"
echo "PASSWORD: ${password%x}"
