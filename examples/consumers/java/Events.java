import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * plscp's events with kafka-clients and jackson-databind: a line of JSON for each on standard output, until Ctrl-C.
 *
 * <p>mvn -q compile exec:java -Dexec.args="127.0.0.1:9092 GROUP plscp.procedure-log plscp.medication-administration"
 */
public final class Events implements ConsumerRebalanceListener {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final KafkaConsumer<String, String> consumer;

    /** By partition: the highest position of each store. It is kept as metadata of the offset that is committed. */
    private final Map<TopicPartition, Map<String, Long>> highest = new HashMap<>();

    private Events(KafkaConsumer<String, String> consumer) {
        this.consumer = consumer;
    }

    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("group.id", args[1]);
        settings.put("enable.auto.commit", "false");
        settings.put("allow.auto.create.topics", "false"); // plscp makes its topics, with as many partitions as it is told
        settings.put("auto.offset.reset", "earliest"); // a new group begins with what there is, not with what comes next
        settings.put("metadata.max.age.ms", "10000"); // a topic that is made later is found soon
        settings.put("key.deserializer", StringDeserializer.class.getName());
        settings.put("value.deserializer", StringDeserializer.class.getName());
        Thread main = Thread.currentThread();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings)) {
            Runtime.getRuntime().addShutdownHook(new Thread(() -> {
                consumer.wakeup();
                try {
                    main.join();
                } catch (InterruptedException ignored) {
                    // It ends anyway.
                }
            }));
            Events events = new Events(consumer);
            consumer.subscribe(List.of(args).subList(2, args.length), events);
            events.read();
        } catch (WakeupException ended) {
            // Ctrl-C
        }
    }

    private void read() throws Exception {
        while (true) {
            ConsumerRecords<String, String> polled = consumer.poll(Duration.ofMillis(500));
            for (TopicPartition place : polled.partitions()) {
                Map<String, Long> numbers = highest.get(place);
                long next = 0;
                for (ConsumerRecord<String, String> record : polled.records(place)) {
                    next = record.offset() + 1;
                    String said = header(record, "position");
                    if (said == null) {
                        continue; // a barrier
                    }
                    long position = Long.parseLong(said);
                    if (position <= numbers.getOrDefault(header(record, "store"), 0L)) {
                        continue; // a repeat
                    }
                    System.out.println(line(record, position));
                    numbers.put(header(record, "store"), position);
                }
                String metadata = JSON.writeValueAsString(Map.of("plscp", numbers));
                consumer.commitSync(Map.of(place, new OffsetAndMetadata(next, metadata)));
            }
        }
    }

    /** What a consumer needs first; the value has it all. */
    private static String line(ConsumerRecord<String, String> record, long position) throws Exception {
        JsonNode value = JSON.readTree(record.value());
        ObjectNode line = JSON.createObjectNode();
        line.put("topic", record.topic());
        line.put("position", position);
        line.put("id", header(record, "ce_id"));
        line.put("type", header(record, "ce_type"));
        line.put("key", record.key());
        line.put("study", value.path("study").path("study_instance_uid").asText(""));
        line.put("patient", value.path("patient").path("id").asText(""));
        line.put("kind", value.path("entry").path("kind").asText(""));
        return JSON.writeValueAsString(line);
    }

    private static String header(ConsumerRecord<?, ?> record, String name) {
        Header found = record.headers().lastHeader(name);
        return found == null ? null : new String(found.value(), StandardCharsets.UTF_8);
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(Set.copyOf(partitions));
        for (TopicPartition place : partitions) {
            highest.put(place, numbers(committed.get(place)));
        }
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        highest.keySet().removeAll(partitions);
    }

    private static Map<String, Long> numbers(OffsetAndMetadata committed) {
        if (committed == null || committed.metadata().isEmpty()) {
            return new HashMap<>();
        }
        try {
            JsonNode stores = JSON.readTree(committed.metadata()).path("plscp");
            return JSON.convertValue(stores, new TypeReference<HashMap<String, Long>>() {});
        } catch (JsonProcessingException byHand) {
            return new HashMap<>(); // offsets were set with another tool: all from there is new
        }
    }
}
