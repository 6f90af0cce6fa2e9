package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/quorate/quorate/configs"
	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/host"
)

// reportOptions tells what a backend found in its options, in the form of every
// other problem of a config file. Warnings are printed; errors end the command.
func reportOptions(cfg configs.Config, file string, diagnostics []consensus.Diagnostic, stderr io.Writer) error {
	problems := configs.Problems{File: file}
	for _, d := range diagnostics {
		p := optionProblem(cfg, d)
		if d.Warning {
			fmt.Fprintf(stderr, "%s:%d:%d: warning: %s\n", filepath.Clean(file), p.Line, p.Column, p.Message)
			continue
		}
		problems.List = append(problems.List, p)
	}
	if len(problems.List) == 0 {
		return nil
	}
	fmt.Fprintln(stderr, problems.Error())
	return &exitError{exitUsage, nil}
}

// optionProblem finds the place of a diagnostic.
func optionProblem(cfg configs.Config, d consensus.Diagnostic) configs.Problem {
	const options = "consensus/options"
	key := options + "/" + d.Path
	at, ok := cfg.Origins[key]
	if !ok {
		at = cfg.Origins[options]
	}
	p := configs.Problem{Key: key, Message: key + ": " + d.Message, Source: at.Name}
	if at.File != "" {
		p.Line, p.Column = at.Line, at.Column
	}
	return p
}

// diagnoseBuiltIn asks a built-in backend, in this process, about its options.
func diagnoseBuiltIn(cfg configs.Config) ([]consensus.Diagnostic, error) {
	spec, err := hostSpec(cfg)
	if err != nil {
		return nil, err
	}
	if newBackend, ok := backends[spec.Name]; ok {
		return newBackend().Validate(spec.Start.Options), nil
	}
	return nil, nil
}

// diagnoseExternal asks somebody's backend in a process of its own, which ends
// with the answer. Nothing is left behind.
func diagnoseExternal(ctx context.Context, cfg configs.Config) ([]consensus.Diagnostic, error) {
	dir, err := os.MkdirTemp("", "quorate-validate-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cfg.Node.DataDir = dir
	spec, err := hostSpec(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, diagnostics, err := host.Describe(ctx, spec, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return diagnostics, nil
}
