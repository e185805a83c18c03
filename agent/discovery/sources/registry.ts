import { SluiceError, toSluiceError } from '../../../api/errors.ts'
import type { DiscoverySource, SourceHost } from './source.ts'

/** Every source there is. Importing this costs nothing. */
export const discoverySources: readonly DiscoverySource[] = [
  {
    name: 'usb',
    summary: 'serial adapters that are plugged in',
    load: async () => (await import('./usb-serial.ts')).watchUsbSerial,
  },
  {
    name: 'mdns',
    summary: 'devices that announce themselves on the network',
    load: async () => (await import('./mdns.ts')).browseNetwork,
  },
]

/** `usb,mdns`, or `off`. @throws SluiceError `SLUICE_DISCOVERY_SOURCE` for a name that is none. */
export function sourcesNamed(text: string): readonly DiscoverySource[] {
  if (text === 'off') return []
  return [...new Set(text.split(','))].map((word) => {
    const source = discoverySources.find(({ name }) => name === word.trim())
    if (source !== undefined) return source
    const known = discoverySources.map(({ name, summary }) => `${name} (${summary})`).join(', ')
    throw new SluiceError('SLUICE_DISCOVERY_SOURCE', `There is no source of discoveries '${word.slice(0, 40)}'`, {
      hint: `Write one or several of ${known}, separated by commas, or off.`,
    })
  })
}

/** Starts them; one that does not start is told in the log, and the others go on. */
export function startSources(sources: readonly DiscoverySource[], host: SourceHost): AsyncDisposable {
  let closed = false
  const starting = sources.map(async (source): Promise<AsyncDisposable | undefined> => {
    try {
      const start = await source.load()
      return closed ? undefined : start(host)
    } catch (error) {
      host.log('warn', `Discovery by ${source.name} does not start: ${toSluiceError(error).message}`)
      return undefined
    }
  })
  return {
    async [Symbol.asyncDispose]() {
      closed = true
      await Promise.all((await Promise.all(starting)).map((running) => running?.[Symbol.asyncDispose]()))
    },
  }
}
