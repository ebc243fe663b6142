// What a node needs inside images and namespaces, in one small static binary:
//
//	node-tools pause            sits in a pod's sandbox, as process 1, and reaps
//	node-tools hold NAME        holds a node's namespaces open
//	volume (by name or link)    makes or removes the folder of a volume, as local-path-provisioner asks
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	if filepath.Base(os.Args[0]) == "volume" {
		if err := volume(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) < 2 || (os.Args[1] != "pause" && os.Args[1] != "hold") {
		fmt.Fprintln(os.Stderr, "usage: node-tools pause | hold NAME; or call it by the name volume")
		os.Exit(2)
	}
	wait()
}

// wait reaps children until it is told to end.
func wait() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for got := range signals {
		if got != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

func volume() error {
	path := flag.String("p", os.Getenv("VOL_DIR"), "the volume's folder")
	action := flag.String("a", "create", "create or delete")
	flag.String("s", "", "size; a folder has no limit")
	flag.String("m", "", "mode; always a file system")
	flag.Parse()
	if !filepath.IsAbs(*path) || filepath.Dir(filepath.Clean(*path)) == "/" {
		return fmt.Errorf("refusing the volume folder %q: it must be an absolute path below some other folder", *path)
	}
	if *action == "delete" {
		return os.RemoveAll(*path)
	}
	if err := os.MkdirAll(*path, 0o777); err != nil {
		return err
	}
	return os.Chmod(*path, 0o777) // whatever the umask: pods do not run as root
}
