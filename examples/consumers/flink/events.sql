-- plscp's events in Flink SQL, without barriers and repeats: bin/sql-client.sh -f events.sql
-- With flink-sql-connector-kafka and flink-json on the class path.

-- A repeat may come late: for how long it is known as one. Each event of that time is a row of Flink's state.
SET 'table.exec.state.ttl' = '7 d';

CREATE TABLE events (
  `topic` STRING METADATA VIRTUAL,
  `headers` MAP<STRING, BYTES> METADATA VIRTUAL,
  `key` STRING,
  `type` STRING,
  `event_id` STRING,
  `position` BIGINT,
  `study` ROW<`study_instance_uid` STRING>,
  `patient` ROW<`id` STRING, `issuer` STRING>,
  `entry` ROW<`kind` STRING>,  -- further members of the value as they are needed
  `read` AS PROCTIME()
) WITH (
  'connector' = 'kafka',
  'properties.bootstrap.servers' = '127.0.0.1:9092',
  'properties.group.id' = 'flink',
  'topic' = 'plscp.procedure-log;plscp.medication-administration',
  'scan.startup.mode' = 'earliest-offset',
  'key.format' = 'raw',
  'key.fields' = 'key',
  'value.format' = 'json',
  'value.fields-include' = 'EXCEPT_KEY'
);

CREATE VIEW new_events AS
SELECT * FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY `headers`['store'], `event_id` ORDER BY `read`) AS times
  FROM events
  WHERE `position` IS NOT NULL  -- a barrier has none
)
WHERE times = 1;

SELECT JSON_OBJECT(
  'topic' VALUE `topic`,
  'position' VALUE `position`,
  'id' VALUE `event_id`,
  'type' VALUE `type`,
  'key' VALUE `key`,
  'study' VALUE COALESCE(`study`.`study_instance_uid`, ''),
  'patient' VALUE COALESCE(`patient`.`id`, ''),
  'kind' VALUE COALESCE(`entry`.`kind`, '')
) AS line
FROM new_events;
