import io.trino.server.Server;

/** Starts the server of the class path, as the launcher of a full installation does. */
public class Launch {
    public static void main(String[] args) {
        new Server().start(args[0]);
    }
}
