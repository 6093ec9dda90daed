import com.fasterxml.jackson.annotation.JsonTypeInfo;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.DeserializationContext;
import com.fasterxml.jackson.databind.JsonDeserializer;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.jsontype.NamedType;
import com.fasterxml.jackson.databind.module.SimpleModule;
import com.fasterxml.jackson.databind.ser.std.ToStringSerializer;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;

/**
 * Reads records with the classes that were made of their schemas, and writes each again, with the class of its entry.
 * A line of input: package, class of the record, value. Arguments: each kind of entry and its class, as kind=Class.
 */
class ReadRecords {
  /** The class of an entry is the one of its kind; Modelina would tell it by which members there are. */
  @JsonTypeInfo(use = JsonTypeInfo.Id.NAME, include = JsonTypeInfo.As.EXISTING_PROPERTY, property = "kind", visible = true)
  interface ByKind {}

  /** The class of a record is given. */
  @JsonTypeInfo(use = JsonTypeInfo.Id.NONE)
  interface Given {}

  static class Time extends JsonDeserializer<OffsetDateTime> {
    @Override
    public OffsetDateTime deserialize(JsonParser parser, DeserializationContext context) throws IOException {
      return OffsetDateTime.parse(parser.getText());
    }
  }

  public static void main(String[] kinds) throws Exception {
    SimpleModule times = new SimpleModule();
    times.addDeserializer(OffsetDateTime.class, new Time()).addSerializer(OffsetDateTime.class, ToStringSerializer.instance);
    BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line; (line = input.readLine()) != null; ) {
      String[] parts = line.split("\t", 3);
      ObjectMapper mapper = new ObjectMapper().registerModule(times);
      Class<?> record = Class.forName(parts[0] + "." + parts[1]);
      for (Class<?> union : record.getInterfaces()) {
        mapper.addMixIn(union, Given.class);
      }
      JsonNode kind = mapper.readTree(parts[2]).path("entry").path("kind");
      if (kind.isTextual()) {
        for (String each : kinds) {
          String[] named = each.split("=");
          try {
            Class<?> made = Class.forName(parts[0] + "." + named[1]);
            mapper.registerSubtypes(new NamedType(made, named[0]));
            for (Class<?> union : made.getInterfaces()) {
              mapper.addMixIn(union, ByKind.class);
            }
          } catch (ClassNotFoundException notOfThisType) {
            // Records of this type have no entry of this kind.
          }
        }
      }
      Object value = mapper.readValue(parts[2], record);
      String entry = kind.isTextual() ? record.getMethod("getEntry").invoke(value).getClass().getSimpleName() : "";
      System.out.println(entry + "\t" + mapper.writeValueAsString(value));
    }
  }
}
