import type { Mapper, MapperHost } from '../sdk/mapper.ts'

export function createMapper(host: MapperHost): Mapper {
  return {
    configure: () => {},
    write: async () => ({ state: 'timedOut', reason: 'not served', atMs: host.clock.now() }),
    links: () => [],
    explain: () => undefined,
    [Symbol.asyncDispose]: async () => {},
  }
}
