import java.nio.file.Path;
import org.apache.kafka.storage.internals.checkpoint.LeaderEpochCheckpointFile;
import org.apache.kafka.storage.internals.checkpoint.PartitionMetadataFile;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;

/** Reads a partition's small files with Kafka's classes and prints them as they should be. */
class Checkpoints {
  public static void main(String[] args) throws Exception {
    var dir = Path.of(args[0]);
    var failures = new LogDirFailureChannel(1);
    var epochs = new LeaderEpochCheckpointFile(dir.resolve("leader-epoch-checkpoint").toFile(), failures).read();
    System.out.println(0);
    System.out.println(epochs.size());
    epochs.forEach(e -> System.out.println(e.epoch + " " + e.startOffset));
    var metadata = new PartitionMetadataFile(dir.resolve("partition.metadata").toFile(), failures).read();
    System.out.println("version: " + metadata.version());
    System.out.println("topic_id: " + metadata.topicId());
  }
}
