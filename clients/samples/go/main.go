// Creates a Parley task from a folder and watches it to its end.
//
//	create_task FOLDER CREDENTIALS ADDRESS [CLIENTS]
//
// CREDENTIALS is the folder that `parley credentials export --out CREDENTIALS` wrote, ADDRESS taskd's, CLIENTS how many
// are expected (1). The join key goes into a file that only you can read. Exits with 0 when every client has confirmed.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	taskpb "parley/task/v1"
)

const callTimeout = 30 * time.Second

// The three files are all that TLS needs: no pre-shared key, no plug-in.
func connect(address, folder string) (*grpc.ClientConn, error) {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(folder, "client.pem"), filepath.Join(folder, "client.key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("ca.pem holds no certificate")
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: roots, MinVersion: tls.VersionTLS13}
	return grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
}

// Every file below a folder. taskd signs them; 3 MiB and 1000 files are the most that it takes so.
func readFiles(folder string) (*taskpb.InlinePayload, error) {
	payload := &taskpb.InlinePayload{}
	err := filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if !entry.Type().IsRegular() {
			return fmt.Errorf("%s is not a file; `parley task create` can carry links, files given inline cannot", name)
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(folder, name)
		payload.Files = append(payload.Files, &taskpb.InlineFile{
			Path: filepath.ToSlash(relative), Content: content, Mode: uint32(info.Mode().Perm())})
		return err
	})
	return payload, err
}

// A random UUID, version 4.
func newRequestID() (string, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}

func writeJoinKey(task, pasted string) (string, error) {
	name := path.Base(task) + ".join"
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer file.Close()
	_, err = fmt.Fprintln(file, pasted)
	return name, err
}

// One stream of events, from the cursor on; what it learns stays when it breaks.
type watcher struct {
	cursor int64
	task   *taskpb.Task
	shown  map[string]taskpb.Participant_State
}

func (w *watcher) follow(ctx context.Context, tasks taskpb.TaskServiceClient, name string) error {
	request := &taskpb.WatchTaskRequest{Name: name, Cursor: w.cursor}
	stream, err := tasks.WatchTask(ctx, request, grpc.WaitForReady(true))
	for err == nil {
		var event *taskpb.WatchTaskResponse
		if event, err = stream.Recv(); err != nil {
			break
		}
		w.cursor = event.Cursor
		if event.Task != nil {
			w.task = event.Task
		}
		for _, client := range event.Participants {
			if state, known := w.shown[client.Name]; !known || state != client.State {
				w.shown[client.Name] = client.State
				fmt.Println(path.Base(client.Name), client.State)
			}
		}
	}
	return err
}

// Prints what each client does; the task as it ended. Goes on where it was when the connection breaks.
func watch(ctx context.Context, tasks taskpb.TaskServiceClient, name string) (*taskpb.Task, error) {
	w := watcher{shown: map[string]taskpb.Participant_State{}}
	for {
		err := w.follow(ctx, tasks, name)
		if err == io.EOF {
			return w.task, nil
		}
		if status.Code(err) != codes.Unavailable {
			return nil, err
		}
	}
}

func run(folder, credentialsFolder, address string, clients int32) (*taskpb.Task, error) {
	connection, err := connect(address, credentialsFolder)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	payload, err := readFiles(folder)
	if err != nil {
		return nil, err
	}
	requestID, err := newRequestID()
	if err != nil {
		return nil, err
	}
	absolute, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	tasks := taskpb.NewTaskServiceClient(connection)
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	// Sent again with the same request_id, this creates nothing twice.
	created, err := tasks.CreateTask(ctx, &taskpb.CreateTaskRequest{
		RequestId: requestID, Title: filepath.Base(absolute), ExpectedClients: clients,
		Payload: &taskpb.CreateTaskRequest_Files{Files: payload}}, grpc.WaitForReady(true))
	if err != nil {
		return nil, err
	}
	keyFile, err := writeJoinKey(created.Task.Name, created.JoinKey.Pasted)
	if err != nil {
		return nil, err
	}
	fmt.Println("created", created.Task.Name, "key", keyFile)
	return watch(context.Background(), tasks, created.Task.Name)
}

func main() {
	if len(os.Args) != 4 && len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: create_task FOLDER CREDENTIALS ADDRESS [CLIENTS]")
		os.Exit(2)
	}
	clients := 1
	if len(os.Args) == 5 {
		var err error
		if clients, err = strconv.Atoi(os.Args[4]); err != nil {
			fmt.Fprintln(os.Stderr, "CLIENTS is a number")
			os.Exit(2)
		}
	}
	task, err := run(os.Args[1], os.Args[2], os.Args[3], int32(clients))
	if err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s\n", status.Code(err), status.Convert(err).Message())
		os.Exit(1)
	}
	fmt.Println("ended", task.State, "confirmed", task.Counts.GetConfirmed())
	if task.State != taskpb.Task_STATE_COMPLETED {
		os.Exit(1)
	}
}
