import type { MapperStorage } from '../../mappers/sdk/mapper.ts'
import type { Store } from '../store/store.ts'

/** What one protocol keeps in the agent's store; read once, so that `get` never touches the file. */
export function mapperStorage(store: Store, protocol: string): MapperStorage {
  const values = store.mapperValues(protocol)
  return {
    get: (key) => values.get(key),
    keys: (prefix) => [...values.keys()].filter((key) => key.startsWith(prefix)).sort(),
    put(entries, durability) {
      store.transact(durability === 'now' ? 'state' : 'telemetry', (writer) => {
        for (const [key, value] of Object.entries(entries)) writer.putMapperValue(protocol, key, value)
      })
      for (const [key, value] of Object.entries(entries)) {
        if (value === undefined) values.delete(key)
        else values.set(key, value)
      }
    },
  }
}
