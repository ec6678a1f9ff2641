// A TCP echo server with a thread for each client: java Threads.java PORT [virtual]
// "virtual" takes virtual threads (Java 21 and later) instead of the operating system's.
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

class Threads {
    static void echo(Socket client) {
        try (client) {
            client.setTcpNoDelay(true);
            var buffer = new byte[16384];
            int count;
            while ((count = client.getInputStream().read(buffer)) > 0) {
                client.getOutputStream().write(buffer, 0, count);
            }
        } catch (IOException gone) {
            // The client is gone; so is its thread.
        }
    }

    public static void main(String[] arguments) throws Exception {
        // By name, so that the file compiles before Java 21 too.
        var threads = arguments.length > 1
            ? (ExecutorService) Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null)
            : Executors.newCachedThreadPool();
        try (var listener = new ServerSocket(Integer.parseInt(arguments[0]), 4096, InetAddress.getLoopbackAddress())) {
            while (true) {
                var client = listener.accept();
                threads.execute(() -> echo(client));
            }
        }
    }
}
