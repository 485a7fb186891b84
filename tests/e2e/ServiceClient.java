import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;

/** What the JDBC driver for Flight SQL gets from a service, a line for each question: java ServiceClient.java URL. */
public class ServiceClient {
    static final String ENDLESS = "SELECT count(*) FROM py_bc_instructions a, py_bc_instructions b, py_bc_instructions c, py_bc_instructions d "
        + "WHERE a.\"offset\" + b.\"offset\" + c.\"offset\" + d.\"offset\" = -1";

    public static void main(String[] arguments) throws Exception {
        Thread watchdog = new Thread(() -> {
            try {
                Thread.sleep(120_000);
            } catch (InterruptedException ignored) {
                return;
            }
            Runtime.getRuntime().halt(3);
        });
        watchdog.setDaemon(true);
        watchdog.start();
        try (Connection connection = DriverManager.getConnection(arguments[0])) {
            metadata(connection);
            queries(connection);
            errors(connection);
            cancelled(connection);
        }
    }

    static void metadata(Connection connection) throws Exception {
        DatabaseMetaData data = connection.getMetaData();
        say("product", data.getDatabaseProductName() + " " + data.isReadOnly() + " " + data.getDefaultTransactionIsolation());
        say("catalogs", rows(data.getCatalogs(), "TABLE_CAT"));
        say("tables", rows(data.getTables("facts", "public", "py_bc_bl%", null), "TABLE_NAME", "TABLE_TYPE"));
        say("column", rows(data.getColumns("facts", "public", "py_bc_blocks", "repo"), "COLUMN_NAME", "TYPE_NAME", "REMARKS"));
        say("key", rows(data.getPrimaryKeys("facts", "public", "py_bc_blocks"), "COLUMN_NAME"));
    }

    static void queries(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            say("counts", rows(statement.executeQuery("SELECT opname, count(*) AS n FROM py_bc_instructions GROUP BY opname ORDER BY opname"), "opname", "n"));
            say("nested", "" + rows(statement.executeQuery("SELECT path, code_objects FROM bytecode_files_v1"), "path", "code_objects").size());
            say("empty", rows(statement.executeQuery("SELECT path FROM py_bc_blocks WHERE false"), "path"));
            say("nulls", rows(statement.executeQuery("SELECT CAST(NULL AS INT) AS a, '' AS b, NULL AS c"), "a", "b", "c"));
        }
        try (PreparedStatement statement = connection.prepareStatement("SELECT count(*) AS n FROM py_bc_instructions WHERE opname = ? AND \"offset\" >= ?")) {
            for (String opname : new String[] {"LOAD_CONST", "no such"}) {
                statement.setString(1, opname);
                statement.setInt(2, 0);
                say("prepared", rows(statement.executeQuery(), "n"));
            }
        }
        try (Statement statement = connection.createStatement()) {
            String count = "SELECT count(*) AS n FROM bytecode_files_v1";
            say("before", rows(statement.executeQuery(count), "n"));
            say("update", "" + statement.executeUpdate("SET bytefacts.run = 'first'"));
            say("after", rows(statement.executeQuery(count), "n"));
            statement.executeUpdate("SET bytefacts.run = DEFAULT");
        }
    }

    static void errors(Connection connection) throws Exception {
        for (String sql : new String[] {"SELECT * FROM nonsense", "DROP TABLE t", "SELECT 1 / 0 AS a"}) {
            try (Statement statement = connection.createStatement(); ResultSet ignored = statement.executeQuery(sql)) {
                say("error", "none");
            } catch (SQLException error) {
                say("error", error.getMessage().lines().findFirst().get());
            }
        }
    }

    static void cancelled(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            Thread canceller = new Thread(() -> {
                try {
                    // Before the service has announced the result (after two seconds at most), the driver forgets that it was told to cancel.
                    Thread.sleep(4000);
                    statement.cancel();
                } catch (Exception error) {
                    say("cancel", error.toString());
                }
            });
            canceller.start();
            long begun = System.nanoTime();
            try {
                say("cancelled", rows(statement.executeQuery(ENDLESS), "count(*)"));
            } catch (SQLException error) {
                say("cancelled", System.nanoTime() - begun < 20_000_000_000L ? "soon" : "late");
            }
            canceller.join();
        }
    }

    static List<String> rows(ResultSet results, String... columns) throws Exception {
        List<String> rows = new ArrayList<>();
        try (results) {
            while (results.next()) {
                List<String> row = new ArrayList<>();
                for (String column : columns) {
                    row.add(String.valueOf(results.getObject(column)));
                }
                rows.add(String.join(" ", row));
            }
        }
        return rows;
    }

    static void say(String question, Object answer) {
        System.out.println(question + ": " + answer);
    }
}
