import java.io.BufferedReader;
import java.io.File;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** A program that locks as MSAL Java does: makes the file if it can, and takes a lock of the channel in any case. Argument: the cache file. */
public class Peer {
    private static final int TRIES = 100;

    private final File file;
    private final File lockFile;
    private FileChannel channel;
    private FileLock lock;

    Peer(String path) {
        file = new File(path);
        lockFile = new File(path + ".lockfile");
    }

    void lock() throws Exception {
        for (int tried = 0; tried < TRIES && !lockFile.createNewFile(); tried++) {
            Thread.sleep(20);
        }
        for (int tried = 0; tried < TRIES; tried++) {
            lockFile.createNewFile();
            channel = FileChannel.open(lockFile.toPath(), StandardOpenOption.READ, StandardOpenOption.WRITE);
            lock = channel.tryLock();
            if (lock != null) {
                String owner = ProcessHandle.current().pid() + " host";
                channel.write(ByteBuffer.wrap(owner.getBytes(StandardCharsets.UTF_8)));
                return;
            }
            channel.close();
            Thread.sleep(20);
        }
        throw new IllegalStateException("no lock");
    }

    void unlock() throws Exception {
        lock.release();
        channel.close();
        Files.deleteIfExists(lockFile.toPath());
    }

    /** Puts a row into a document of which it knows only how its rows end. */
    void add(String name) throws Exception {
        Path path = file.toPath();
        String text = file.exists() ? Files.readString(path) : "";
        String row = "\"" + name + "\":{\"secret\":\"" + name + "\"}";
        String changed = text.contains("}}") ? text.substring(0, text.lastIndexOf("}}")) + "," + row + "}}"
                : "{\"RefreshToken\":{" + row + "}}";
        try (FileOutputStream stream = new FileOutputStream(file)) {
            Thread.sleep(2);
            stream.write(changed.substring(0, changed.length() / 2).getBytes(StandardCharsets.UTF_8));
            Thread.sleep(2);
            stream.write(changed.substring(changed.length() / 2).getBytes(StandardCharsets.UTF_8));
        }
    }

    public static void main(String[] arguments) throws Exception {
        Peer peer = new Peer(arguments[0]);
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("ready");
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] words = line.split(" ");
            try {
                switch (words[0]) {
                    case "lock" -> peer.lock();
                    case "unlock" -> peer.unlock();
                    case "add" -> {
                        peer.lock();
                        peer.add(words[1]);
                        peer.unlock();
                    }
                    default -> throw new IllegalArgumentException(line);
                }
                System.out.println("done");
            } catch (Exception error) {
                System.out.println("failed " + error);
            }
        }
    }
}
