import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;

/**
 * What an explorer of databases gets by the JDBC driver for Flight SQL, a line for each question: java ServiceExplorer.java WHAT URL…
 *
 * connect: of each URL the files of the run, or the error; metadata: what tools such as DBeaver ask of a database before anybody has asked anything;
 * tables: all rows of each; types: of each expression of standard input its type, value and null.
 */
public class ServiceExplorer {
    /** A question, which may fail. */
    interface Question {
        Object ask() throws Exception;
    }

    /** Types whose values are the same text everywhere. */
    static final Set<Integer> PLAIN = Set.of(Types.VARCHAR, Types.LONGVARCHAR, Types.BOOLEAN, Types.TINYINT, Types.SMALLINT, Types.INTEGER, Types.BIGINT);

    public static void main(String[] arguments) throws Exception {
        Thread watchdog = new Thread(() -> {
            try {
                Thread.sleep(240_000);
            } catch (InterruptedException ignored) {
                return;
            }
            Runtime.getRuntime().halt(3);
        });
        watchdog.setDaemon(true);
        watchdog.start();
        if (arguments[0].equals("connect")) {
            for (String url : Arrays.copyOfRange(arguments, 1, arguments.length)) {
                connect(url);
            }
            return;
        }
        try (Connection connection = DriverManager.getConnection(arguments[1])) {
            switch (arguments[0]) {
                case "metadata" -> metadata(connection);
                case "tables" -> tables(connection);
                case "types" -> types(connection);
                default -> throw new IllegalArgumentException(arguments[0]);
            }
        }
    }

    static void connect(String url) {
        try (Connection connection = DriverManager.getConnection(url); Statement statement = connection.createStatement();
            ResultSet rows = statement.executeQuery("SELECT count(*) AS n FROM bytecode_files_v1")) {
            rows.next();
            say("files", rows.getLong("n"));
        } catch (SQLException error) {
            say("error", firstLine(error));
        }
    }

    static void metadata(Connection connection) throws Exception {
        DatabaseMetaData data = connection.getMetaData();
        // All that takes no argument: keywords, functions, limits, what is supported, catalogs, schemas, types, …
        List<Method> methods = new ArrayList<>(Arrays.asList(DatabaseMetaData.class.getMethods()));
        methods.removeIf(method -> method.getParameterCount() > 0);
        methods.sort(Comparator.comparing(Method::getName));
        for (Method method : methods) {
            ask(method.getName(), () -> method.invoke(data));
        }
        String[] runs = {"facts", "public"};
        ask("getSchemas of facts", () -> data.getSchemas("facts", null));
        ask("getTables", () -> data.getTables(null, null, "%", null));
        ask("getTables of facts", () -> data.getTables(runs[0], runs[1], "%", new String[] {"TABLE", "VIEW"}));
        ask("getColumns", () -> data.getColumns(null, null, "%", "%"));
        for (String table : new String[] {"bytecode_files_v1", "py_bc_blocks"}) {
            ask("getPrimaryKeys of " + table, () -> data.getPrimaryKeys(runs[0], runs[1], table));
            ask("getImportedKeys of " + table, () -> data.getImportedKeys(runs[0], runs[1], table));
            ask("getExportedKeys of " + table, () -> data.getExportedKeys(runs[0], runs[1], table));
            ask("getIndexInfo of " + table, () -> data.getIndexInfo(runs[0], runs[1], table, false, true));
            ask("getBestRowIdentifier of " + table, () -> data.getBestRowIdentifier(runs[0], runs[1], table, DatabaseMetaData.bestRowSession, true));
            ask("getVersionColumns of " + table, () -> data.getVersionColumns(runs[0], runs[1], table));
            ask("getColumnPrivileges of " + table, () -> data.getColumnPrivileges(runs[0], runs[1], table, "%"));
        }
        ask("getCrossReference", () -> data.getCrossReference(runs[0], runs[1], "py_bc_blocks", runs[0], runs[1], "py_bc_cfg_edges"));
        ask("getTablePrivileges", () -> data.getTablePrivileges(runs[0], runs[1], "%"));
        ask("getProcedures", () -> data.getProcedures(runs[0], runs[1], "%"));
        ask("getProcedureColumns", () -> data.getProcedureColumns(runs[0], runs[1], "%", "%"));
        ask("getFunctions", () -> data.getFunctions(runs[0], runs[1], "%"));
        ask("getFunctionColumns", () -> data.getFunctionColumns(runs[0], runs[1], "%", "%"));
        ask("getUDTs", () -> data.getUDTs(runs[0], runs[1], "%", null));
        ask("getSuperTypes", () -> data.getSuperTypes(runs[0], runs[1], "%"));
        ask("getSuperTables", () -> data.getSuperTables(runs[0], runs[1], "%"));
        ask("getAttributes", () -> data.getAttributes(runs[0], runs[1], "%", "%"));
        ask("getPseudoColumns", () -> data.getPseudoColumns(runs[0], runs[1], "%", "%"));
        ask("connection.getCatalog", connection::getCatalog);
        ask("connection.getSchema", connection::getSchema);
        ask("connection.getAutoCommit", connection::getAutoCommit);
        ask("connection.getTransactionIsolation", connection::getTransactionIsolation);
        ask("connection.getHoldability", connection::getHoldability);
        ask("connection.getWarnings", connection::getWarnings);
        ask("connection.isReadOnly", connection::isReadOnly);
        ask("connection.isValid", () -> connection.isValid(10));
        ask("statement", () -> {
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(200);
                statement.setMaxRows(2);
                boolean hasRows = statement.execute("SELECT path FROM py_bc_blocks");
                int count = 0;
                try (ResultSet rows = statement.getResultSet()) {
                    while (rows.next()) {
                        count++;
                    }
                }
                return hasRows + " " + count + " " + statement.getMoreResults() + " " + statement.getUpdateCount();
            }
        });
        try (ResultSet columns = data.getColumns("facts", "public", "%", "%")) {
            while (columns.next()) {
                say("column", columns.getString("TABLE_NAME") + "." + columns.getString("COLUMN_NAME") + " " + columns.getString("REMARKS"));
            }
        }
    }

    /** Of each table the rows, the columns of plain types, and what all their values hash to, the rows in order of their bytes. */
    static void tables(Connection connection) throws Exception {
        List<String> names = new ArrayList<>();
        try (ResultSet tables = connection.getMetaData().getTables("facts", "public", "%", null)) {
            while (tables.next()) {
                names.add(tables.getString("TABLE_NAME"));
            }
        }
        for (String name : names) {
            try (Statement statement = connection.createStatement(); ResultSet results = statement.executeQuery("SELECT * FROM " + name)) {
                ResultSetMetaData about = results.getMetaData();
                int plain = 0;
                List<byte[]> rows = new ArrayList<>();
                for (int column = 1; column <= about.getColumnCount(); column++) {
                    plain += PLAIN.contains(about.getColumnType(column)) ? 1 : 0;
                }
                while (results.next()) {
                    List<String> row = new ArrayList<>();
                    for (int column = 1; column <= about.getColumnCount(); column++) {
                        Object value = results.getObject(column);
                        if (PLAIN.contains(about.getColumnType(column))) {
                            row.add(results.wasNull() ? "NULL" : String.valueOf(value));
                        }
                    }
                    rows.add((String.join("\u001f", row) + "\n").getBytes(StandardCharsets.UTF_8));
                }
                rows.sort(Arrays::compareUnsigned);
                MessageDigest digest = MessageDigest.getInstance("SHA-256");
                rows.forEach(digest::update);
                say("table", name + " " + rows.size() + " " + plain + " " + HexFormat.of().formatHex(digest.digest()));
            }
        }
    }

    static void types(Connection connection) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String expression = lines.readLine(); expression != null; expression = lines.readLine()) {
            String nullable = "SELECT CASE WHEN n = 1 THEN " + expression + " END AS a FROM (VALUES (1), (2)) AS t(n) ORDER BY n";
            List<String> said = new ArrayList<>();
            for (String sql : new String[] {nullable, "SELECT * FROM (" + nullable + ") WHERE false"}) {
                try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
                    said.add(rows.getMetaData().getColumnTypeName(1));
                    while (rows.next()) {
                        Object value = rows.getObject(1);
                        said.add(value instanceof byte[] bytes ? HexFormat.of().formatHex(bytes) : String.valueOf(value));
                    }
                }
            }
            say(expression, String.join(" | ", said));
        }
    }

    static void ask(String name, Question question) {
        try {
            Object answer = question.ask();
            if (answer instanceof ResultSet results) {
                int count = 0;
                try (results) {
                    int columns = results.getMetaData().getColumnCount();
                    while (results.next()) {
                        for (int column = 1; column <= columns; column++) {
                            results.getObject(column);
                        }
                        count++;
                    }
                }
                say("rows", name + " " + count);
            } else {
                say("value", name + " " + answer);
            }
        } catch (InvocationTargetException error) {
            say("threw", name + " " + error.getCause().getClass().getSimpleName() + " " + firstLine(error.getCause()));
        } catch (Exception error) {
            say("threw", name + " " + error.getClass().getSimpleName() + " " + firstLine(error));
        }
    }

    static String firstLine(Throwable error) {
        return String.valueOf(error.getMessage()).lines().findFirst().orElse("");
    }

    static void say(String question, Object answer) {
        System.out.println(question + ": " + answer);
    }
}
