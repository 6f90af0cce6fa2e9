// Package arch holds the house to its floors: who may import whom, and that
// every package says what it is for. It parses the tree itself; a test that
// asked the go command would be cached and miss violations.
package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

// Module is the module's path; packages below it are "ours".
const Module = "github.com/quorate/quorate"

// Import is one import of one package by another. Both are paths below Module
// for packages of ours, and full import paths for others.
type Import struct {
	From, To string
	Where    string // file:line
	Test     bool   // in a _test.go file
}

// Package is a folder with Go files.
type Package struct {
	Path     string
	Comments []string // the files that carry a package comment
}

// Tree is every package below a root, and what each imports.
type Tree struct {
	Packages []Package
	Imports  []Import
}

// Read parses the imports and package comments of every Go file below root.
func Read(root string) (Tree, error) {
	var tree Tree
	packages := map[string]*Package{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipDir(root, path, d.Name())
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		p := packages[dir]
		if p == nil {
			p = &Package{Path: filepath.ToSlash(dir)}
			packages[dir] = p
		}
		imports, commented, err := readFile(path, p.Path)
		if err != nil {
			return err
		}
		tree.Imports = append(tree.Imports, imports...)
		if commented {
			p.Comments = append(p.Comments, filepath.Base(path))
		}
		return nil
	})
	for _, p := range packages {
		tree.Packages = append(tree.Packages, *p)
	}
	return tree, err
}

// skipDir leaves out what is not part of this module: dot folders, testdata and
// folders with a go.mod of their own.
func skipDir(root, path, name string) error {
	if path == root {
		return nil
	}
	if strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" {
		return filepath.SkipDir
	}
	if matches, err := filepath.Glob(filepath.Join(path, "go.mod")); err == nil && len(matches) > 0 {
		return filepath.SkipDir
	}
	return nil
}

func readFile(path, pkg string) (imports []Import, commented bool, err error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, nil, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return nil, false, err
	}
	if f.Name.Name == "ignore" {
		return nil, false, nil
	}
	test := strings.HasSuffix(path, "_test.go")
	for _, spec := range f.Imports {
		to, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, false, err
		}
		if to == Module {
			to = "."
		}
		at := fset.Position(spec.Pos())
		imports = append(imports, Import{
			From:  pkg,
			To:    strings.TrimPrefix(to, Module+"/"),
			Where: fmt.Sprintf("%s:%d", path, at.Line),
			Test:  test,
		})
	}
	return imports, !test && isPackageComment(f.Doc), nil
}

func isPackageComment(doc *ast.CommentGroup) bool {
	return doc != nil && strings.TrimSpace(doc.Text()) != ""
}
