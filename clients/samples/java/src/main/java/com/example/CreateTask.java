package com.example;

import com.google.protobuf.ByteString;
import dev.parley.task.v1.CreateTaskRequest;
import dev.parley.task.v1.CreateTaskResponse;
import dev.parley.task.v1.InlineFile;
import dev.parley.task.v1.InlinePayload;
import dev.parley.task.v1.Participant;
import dev.parley.task.v1.Task;
import dev.parley.task.v1.TaskServiceGrpc;
import dev.parley.task.v1.WatchTaskRequest;
import dev.parley.task.v1.WatchTaskResponse;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Creates a Parley task from a folder and watches it to its end: CreateTask FOLDER CREDENTIALS ADDRESS [CLIENTS].
 *
 * <p>CREDENTIALS is the folder that {@code parley credentials export --out CREDENTIALS} wrote, ADDRESS taskd's, CLIENTS
 * how many are expected (1). The join key goes into a file that only you can read. Exits with 0 when every client has
 * confirmed.
 */
public final class CreateTask {
  private static final int CALL_TIMEOUT_S = 30;

  /** The three files are all that TLS needs: no pre-shared key, no plug-in. */
  private static ManagedChannel connect(String address, Path folder) throws IOException {
    return Grpc.newChannelBuilder(
            address,
            TlsChannelCredentials.newBuilder()
                .trustManager(folder.resolve("ca.pem").toFile())
                .keyManager(folder.resolve("client.pem").toFile(), folder.resolve("client.key").toFile())
                .build())
        .build();
  }

  /** Every file below a folder. taskd signs them; 3 MiB and 1000 files are the most that it takes so. */
  private static InlinePayload readFiles(Path folder) throws IOException {
    List<Path> paths;
    try (Stream<Path> walk = Files.walk(folder)) {
      paths = walk.filter(path -> !Files.isDirectory(path)).sorted().collect(Collectors.toList());
    }
    InlinePayload.Builder payload = InlinePayload.newBuilder();
    for (Path path : paths) {
      if (Files.isSymbolicLink(path)) {
        throw new IOException(path + " is a link; `parley task create` can carry links, files given inline cannot");
      }
      int mode = 0;
      for (PosixFilePermission permission : Files.getPosixFilePermissions(path)) {
        // Declared from the owner's reading down to others' executing.
        mode |= 0400 >> permission.ordinal();
      }
      payload.addFiles(
          InlineFile.newBuilder()
              .setPath(folder.relativize(path).toString())
              .setContent(ByteString.copyFrom(Files.readAllBytes(path)))
              .setMode(mode));
    }
    return payload.build();
  }

  private static String lastPart(String name) {
    return name.substring(name.lastIndexOf('/') + 1);
  }

  private static Path writeJoinKey(String task, String pasted) throws IOException {
    Path path = Path.of(lastPart(task) + ".join");
    Files.createFile(path, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    return Files.writeString(path, pasted + "\n");
  }

  /** Prints what each client does; the task as it ended. Goes on where it was when the connection breaks. */
  private static Task watch(TaskServiceGrpc.TaskServiceBlockingStub tasks, String name) {
    Map<String, Participant.State> shown = new HashMap<>();
    long cursor = 0;
    Task task = Task.getDefaultInstance();
    while (true) {
      try {
        Iterator<WatchTaskResponse> events =
            tasks.watchTask(WatchTaskRequest.newBuilder().setName(name).setCursor(cursor).build());
        while (events.hasNext()) {
          WatchTaskResponse event = events.next();
          cursor = event.getCursor();
          if (event.hasTask()) {
            task = event.getTask();
          }
          for (Participant client : event.getParticipantsList()) {
            if (shown.put(client.getName(), client.getState()) != client.getState()) {
              System.out.println(lastPart(client.getName()) + " " + client.getState());
            }
          }
        }
        return task;
      } catch (StatusRuntimeException error) {
        // UNKNOWN is what grpc-java makes of a connection that breaks while it writes; no service of Parley says it.
        Status.Code code = error.getStatus().getCode();
        if (code != Status.Code.UNAVAILABLE && code != Status.Code.UNKNOWN) {
          throw error;
        }
      }
    }
  }

  private static int run(Path folder, Path credentials, String address, int clients) throws IOException {
    ManagedChannel channel = connect(address, credentials);
    try {
      TaskServiceGrpc.TaskServiceBlockingStub tasks = TaskServiceGrpc.newBlockingStub(channel).withWaitForReady();
      // Sent again with the same request_id, this creates nothing twice.
      CreateTaskResponse created =
          tasks
              .withDeadlineAfter(CALL_TIMEOUT_S, TimeUnit.SECONDS)
              .createTask(
                  CreateTaskRequest.newBuilder()
                      .setRequestId(UUID.randomUUID().toString())
                      .setTitle(folder.toRealPath().getFileName().toString())
                      .setFiles(readFiles(folder))
                      .setExpectedClients(clients)
                      .build());
      String name = created.getTask().getName();
      System.out.println("created " + name + " key " + writeJoinKey(name, created.getJoinKey().getPasted()));
      Task task = watch(tasks, name);
      System.out.println("ended " + task.getState() + " confirmed " + task.getCounts().getConfirmed());
      return task.getState() == Task.State.STATE_COMPLETED ? 0 : 1;
    } finally {
      channel.shutdownNow();
    }
  }

  public static void main(String[] args) throws IOException {
    if (args.length != 3 && args.length != 4) {
      System.err.println("usage: CreateTask FOLDER CREDENTIALS ADDRESS [CLIENTS]");
      System.exit(2);
    }
    int code = 1;
    try {
      code = run(Path.of(args[0]), Path.of(args[1]), args[2], args.length == 4 ? Integer.parseInt(args[3]) : 1);
    } catch (StatusRuntimeException error) {
      System.err.println(error.getStatus().getCode() + ": " + error.getStatus().getDescription());
    }
    System.exit(code);
  }
}
