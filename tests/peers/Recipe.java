import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;

/** Runs a file of Flink SQL in this process and prints the first column of what its last statement selects. */
public final class Recipe {
    public static void main(String[] args) throws Exception {
        TableEnvironment tables = TableEnvironment.create(EnvironmentSettings.inStreamingMode());
        String[] statements = Files.readString(Path.of(args[0])).replaceAll("(?m)--.*$", "").split(";\\s*(\n|$)");
        for (int at = 0; at < statements.length - 1; at++) {
            String text = statements[at].strip();
            if (text.startsWith("SET")) {
                String[] parts = text.split("'");
                tables.getConfig().set(parts[1], parts[3]);
            } else {
                tables.executeSql(text);
            }
        }
        try (CloseableIterator<Row> rows = tables.executeSql(statements[statements.length - 1]).collect()) {
            rows.forEachRemaining(row -> System.out.println(row.getField(0)));
        }
    }
}
