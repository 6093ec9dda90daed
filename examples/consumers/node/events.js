// plscp's events with kafkajs: a line of JSON for each on standard output, until Ctrl-C.
//
// node events.js 127.0.0.1:9092 GROUP plscp.procedure-log plscp.medication-administration

const { Kafka, logLevel } = require('kafkajs')

const [broker, groupId, ...topics] = process.argv.slice(2)
const kafka = new Kafka({ brokers: [broker], logLevel: logLevel.ERROR })
const admin = kafka.admin()
// plscp makes its topics, with as many partitions as it is told. kafkajs ends with an error where one is not there yet.
const consumer = kafka.consumer({ groupId, allowAutoTopicCreation: false })

// By topic and partition: the highest position of each store. It is kept as metadata of the offset that is committed.
const highest = new Map()
consumer.on(consumer.events.GROUP_JOIN, () => highest.clear()) // what others had meanwhile is not known here
// It does not go on after what it cannot read, and would stay as if nothing came.
consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || process.exit(1))

async function known(topic, partition) {
  const place = `${topic}/${partition}`
  if (!highest.has(place)) {
    const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] })
    const { metadata } = partitions.find((each) => each.partition === partition)
    highest.set(place, metadata ? JSON.parse(metadata).plscp : {})
  }
  return highest.get(place)
}

// What a consumer needs first; `value` has it all.
function line(topic, headers, key, value) {
  return JSON.stringify({
    topic,
    position: Number(headers.position),
    id: String(headers.ce_id),
    type: String(headers.ce_type),
    key: String(key),
    study: value.study?.study_instance_uid ?? '',
    patient: value.patient?.id ?? '',
    kind: value.entry?.kind ?? '',
  })
}

async function eachBatch({ batch, resolveOffset, heartbeat, isRunning, isStale }) {
  const { topic, partition } = batch
  const numbers = await known(topic, partition)
  let next
  for (const { headers, key, value, offset } of batch.messages) {
    if (!isRunning() || isStale()) break
    if (headers.position !== undefined) { // else a barrier
      const store = String(headers.store)
      const position = Number(headers.position)
      if (position > (numbers[store] ?? 0)) { // else a repeat
        console.log(line(topic, headers, key, JSON.parse(value)))
        numbers[store] = position
      }
    }
    next = String(BigInt(offset) + 1n)
    resolveOffset(offset) // without it kafkajs fetches the same again, and never what is beyond its first fetch
    await heartbeat()
  }
  if (next) await consumer.commitOffsets([{ topic, partition, offset: next, metadata: JSON.stringify({ plscp: numbers }) }])
}

async function main() {
  await admin.connect()
  await consumer.connect()
  // A new group begins with what there is, not with what comes next.
  await consumer.subscribe({ topics, fromBeginning: true })
  process.once('SIGINT', async () => {
    await consumer.disconnect()
    await admin.disconnect()
    process.exit() // kafkajs goes on where it was just joining the group
  })
  await consumer.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch })
}

main().catch((error) => {
  console.error(String(error))
  process.exit(1)
})
