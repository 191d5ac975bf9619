# shellcheck shell=bash
# shellcheck disable=SC2034 # the other parts use what is set here
# The testbed's images, made without an engine and without a registry. The
# same sources always give the same image ID, on every node and on both sides.

# images_make sets IMAGES to an archive in the format of `docker save`, cached
# by what went into it, and IDLE to the program of that name.
images_make() {
	local key part
	key=$({
		printf '%s\n' "$ARCH"
		cat "$LIB/images.sh" "$LIB/images/app.sh" "$LIB/images/idle/main.go"
	} | sha256sum | cut -c -12)
	IMAGES=$CACHE/images-$key/images.tar
	IDLE=$CACHE/images-$key/idle
	[[ ! -d $CACHE/images-$key ]] || return 0
	cache_lock
	if [[ -d $CACHE/images-$key ]]; then
		cache_unlock
		return
	fi
	part=$CACHE/images.part
	rm -rf "$part"
	mkdir -p "$part/archive"
	chown "$(owner)" "$part"
	long "making the images" "$LOGS/images.log" images_build "$part"
	((RC == 0)) || fail "the images could not be made, see $LOGS/images.log"
	rm -rf "$part/archive" "$part/root"
	chown -R 0:0 "$part"
	mv "$part" "$CACHE/images-$key"
	cache_unlock
}

images_build() {
	local part=$1 root=$1/root busybox applet
	cd "$LIB/images" || return
	as_owner env CGO_ENABLED=0 GOWORK=off GOFLAGS= go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$part/idle" ./idle
	busybox=$(static_busybox "$part")

	mkdir -p "$root"
	install -m 755 "$part/idle" "$root/idle"
	# A user that is not root, to see files with an owner of their own.
	image_etc
	image distroless:1 '"Cmd": ["/idle"]'
	image pause:1 '"Entrypoint": ["/idle"]'

	rm -rf "$root"
	mkdir -p "$root"/{bin,dev,proc,run,sys,tmp,var}
	chmod 1777 "$root/tmp"
	install -m 755 "$busybox" "$root/bin/busybox"
	"$busybox" --list | while read -r applet; do
		[[ $applet == busybox ]] || ln -s busybox "$root/bin/$applet"
	done
	image_etc
	# A shell as process 1 ignores SIGTERM: without this, every removal of a
	# service or pod would wait for its grace period to end.
	image busybox:1 '"Cmd": ["sh"], "StopSignal": "SIGKILL"'
	install -D -m 755 app.sh "$root/app/app.sh"
	image secrets-demo:1.0 '"Cmd": ["sh", "-c", "sh /app/app.sh && sleep 1000"], "WorkingDir": "/app", "StopSignal": "SIGKILL"'

	printf '[%s]' "$(paste -sd, "$part/manifest")" >"$part/archive/manifest.json"
	tar -C "$part/archive" "${TAR_OPTIONS_FIXED[@]}" -cf "$part/images.tar" .
	rm "$part/manifest"
}

TAR_OPTIONS_FIXED=(--sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=gnu)

# image_etc writes users into $root.
image_etc() {
	mkdir -p "$root/etc"
	printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
	printf 'root:x:0:\nnobody:x:65534:\n' >"$root/etc/group"
}

# image NAME:TAG SETTINGS: adds what is in $root as an image of one layer.
image() {
	local layer config
	tar -C "$root" "${TAR_OPTIONS_FIXED[@]}" -cf "$part/layer.tar" .
	layer=$(sha256sum "$part/layer.tar" | cut -d' ' -f1)
	mkdir -p "$part/archive/$layer"
	mv "$part/layer.tar" "$part/archive/$layer/layer.tar"
	printf '{"architecture": "%s", "os": "linux", "created": "2000-01-01T00:00:00Z", "config": {"Env": ["PATH=/bin"], %s}, "rootfs": {"type": "layers", "diff_ids": ["sha256:%s"]}, "history": [{"created": "2000-01-01T00:00:00Z", "created_by": "secretx testbed"}]}' \
		"$ARCH" "$2" "$layer" >"$part/config.json"
	config=$(sha256sum "$part/config.json" | cut -d' ' -f1)
	mv "$part/config.json" "$part/archive/$config.json"
	printf '{"Config": "%s.json", "RepoTags": ["secretx-test/%s"], "Layers": ["%s/layer.tar"]}\n' "$config" "$1" "$layer" >>"$part/manifest"
}

# static_busybox FOLDER prints the path of one. If the machine's own needs
# libraries, the package is unpacked instead of installed, which would replace
# it.
static_busybox() {
	local path
	path=$(command -v busybox || true)
	if [[ -n $path ]] && ! ldd "$path" 2>/dev/null | grep -q '=>'; then
		printf '%s' "$path"
		return
	fi
	mkdir -p "$1/deb"
	(cd "$1/deb" && apt-get download busybox-static && dpkg-deb -x busybox-static_*.deb .) >&2
	find "$1/deb" -path '*bin/busybox' | grep .
}
