package swarm

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/probe/embedded"
)

// Repository is the name of the helper's image; its tag says which helper is in it.
const Repository = "secretx/probe"

// helper gives the image to run: the one of the options, or our own.
func (e *Endpoint) helper(ctx context.Context, g *engine, op string) (string, error) {
	if e.options.ProbeImage != "" {
		return e.options.ProbeImage, nil
	}
	return e.own(ctx, g, op)
}

// own gives the ID of the embedded image, which it loads into the engine if it isn't there.
//
// A Swarm pulls whatever is named by a tag, so that anybody who owned that name on Docker Hub would be
// given the secrets. An ID is never pulled.
func (e *Endpoint) own(ctx context.Context, g *engine, op string) (string, error) {
	unlock, err := e.lock(ctx)
	if err != nil {
		return "", e.fail(ctx, op, "", err)
	}
	defer unlock()
	if e.image != "" {
		return e.image, nil
	}
	if g.system != "linux" {
		return "", &endpoint.Error{
			Op: op, Place: e.name, Reason: endpoint.ErrProbe, Cause: errors.New("the helper runs on Linux, this node on " + g.system),
			Hint: "Talk to a manager on Linux, or use --probe-image and a Linux node.",
		}
	}
	executable, err := embedded.Helper(g.architecture)
	if err != nil {
		return "", &endpoint.Error{Op: op, Place: e.name, Reason: endpoint.ErrProbe, Cause: err}
	}
	tag := imageTag(executable)
	inspect := func(ctx context.Context) (image.InspectResponse, error) { return g.api.ImageInspect(ctx, tag) }
	found, err := again(ctx, inspect)
	if cerrdefs.IsNotFound(err) {
		e.options.Progress("loading the probe into the engine")
		if err = e.load(ctx, g, tag, executable); err == nil {
			found, err = again(ctx, inspect)
		}
	}
	if err != nil {
		failure := e.fail(ctx, op, "", fmt.Errorf("load the image %s: %w", tag, err))
		if ctx.Err() == nil {
			failure.Reason = endpoint.ErrProbe
		}
		return "", failure
	}
	e.image = found.ID
	return e.image, nil
}

func (e *Endpoint) load(ctx context.Context, g *engine, tag string, executable []byte) error {
	_, archive, err := imageArchive(tag, g.architecture, executable)
	if err != nil {
		return err
	}
	_, err = once(ctx, func(ctx context.Context) (struct{}, error) {
		response, err := g.api.ImageLoad(ctx, bytes.NewReader(archive), client.ImageLoadWithQuiet(true))
		if err != nil {
			return struct{}{}, err
		}
		defer response.Body.Close()
		return struct{}{}, loaded(response.Body)
	})
	return err
}

func imageTag(executable []byte) string {
	digest := sha256.Sum256(executable)
	return Repository + ":" + hex.EncodeToString(digest[:6])
}

// imageID is the ID of the embedded image for an architecture, on whatever node it was loaded.
func imageID(architecture string) (string, error) {
	executable, err := embedded.Helper(architecture)
	if err != nil {
		return "", err
	}
	id, _, err := imageArchive(imageTag(executable), architecture, executable)
	return id, err
}

// ProbeImage writes the helper's image for an architecture, amd64 or arm64, as docker load takes it:
// for nodes that secretx doesn't talk to, but should look at.
func ProbeImage(w io.Writer, architecture string) error {
	executable, err := embedded.Helper(architecture)
	if err != nil {
		return err
	}
	_, archive, err := imageArchive(imageTag(executable), architecture, executable)
	if err != nil {
		return err
	}
	_, err = w.Write(archive)
	return err
}

// loaded reads the engine's messages until it is done, and finds the error among them.
func loaded(messages io.Reader) error {
	for d := json.NewDecoder(messages); ; {
		var message struct {
			Error string `json:"error"`
		}
		switch err := d.Decode(&message); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case message.Error != "":
			return errors.New(message.Error)
		}
	}
}

// imageArchive makes an image of nothing but the helper, as docker save would write it. The same
// helper makes the same image, so that two runs that load it at once don't get into each other's way,
// and its ID is known without an engine.
func imageArchive(tag, architecture string, executable []byte) (id string, archive []byte, err error) {
	var layer bytes.Buffer
	if err := writeTar(&layer, tarFile{"secretx-probe", 0o555, executable}); err != nil {
		return "", nil, err
	}
	diff := sha256.Sum256(layer.Bytes())
	config, err := json.Marshal(map[string]any{
		"architecture": architecture,
		"os":           "linux",
		"created":      "1970-01-01T00:00:00Z",
		"config": map[string]any{
			"Entrypoint": []string{"/secretx-probe"},
			"Labels":     map[string]string{ProbeLabel: "image"},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(diff[:])}},
	})
	if err != nil {
		return "", nil, err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{tag}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return "", nil, err
	}
	var out bytes.Buffer
	err = writeTar(&out, tarFile{"config.json", 0o444, config}, tarFile{"layer.tar", 0o444, layer.Bytes()}, tarFile{"manifest.json", 0o444, manifest})
	sum := sha256.Sum256(config)
	return "sha256:" + hex.EncodeToString(sum[:]), out.Bytes(), err
}

type tarFile struct {
	name    string
	mode    int64
	content []byte
}

func writeTar(out io.Writer, files ...tarFile) error {
	w := tar.NewWriter(out)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		if _, err := w.Write(f.content); err != nil {
			return err
		}
	}
	return w.Close()
}
