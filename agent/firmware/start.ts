import { join } from 'node:path'
import type { Clock } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import { readStreamTarget } from '../../api/link/firmware.ts'
import type { AgentCore } from '../core.ts'
import type { Log } from '../log.ts'
import { mapperStorage } from '../mappers/storage.ts'
import type { StreamHandler } from '../streams/host.ts'
import type { ImageStore } from './image-store.ts'
import type { FirmwareUpdater } from './updater.ts'

export interface FirmwareSide extends AsyncDisposable {
  /** Takes the bytes of an image. */
  readonly receive: StreamHandler
}

/** Firmware of boards behind this gateway. Nothing of it is loaded before the first order. */
export function openFirmware(core: AgentCore, dataDir: string, clock: Clock, log: Log): FirmwareSide {
  let opening: Promise<{ updater: FirmwareUpdater; images: ImageStore }> | undefined
  const open = async () => {
    const [{ FirmwareUpdater }, { ImageStore }] = await Promise.all([
      import('./updater.ts'),
      import('./image-store.ts'),
    ])
    const images = new ImageStore(join(dataDir, 'firmware'))
    const updater = new FirmwareUpdater({
      ...{ clock, log, images, board: core.updates, storage: mapperStorage(core.store, 'firmware') },
      orders: () => core.objects.updates(),
      tunnel: (device) => core.mappers.tunnel(device),
      mayBegin: () => core.tether.leash.begins,
      onReadings: (listener) => core.onReadings(listener),
      goodProperties: (device) =>
        [...(core.engine.devices.get(device)?.properties.values() ?? [])]
          .filter(({ twin, fresh }) => fresh && twin.reported?.quality === 'good')
          .map(({ name }) => name),
    })
    return { updater, images }
  }
  const look = () => {
    if (opening === undefined && core.objects.updates().next().done === true) return
    opening ??= open()
    opening
      .then(({ updater }) => updater.look())
      .catch((thrown: unknown) => {
        log('error', `Firmware updates do not start: ${toSluiceError(thrown).message}`)
      })
  }
  const stop = core.onUpdates(look)
  look()
  return {
    receive: async ({ target, endpoint, ready, signal }) => {
      const wanted = readStreamTarget(target)
      const known = [...core.objects.updates()].flatMap(([, { spec }]) => spec.images)
      if (
        wanted === undefined ||
        !known.some(({ sha256, sizeBytes }) => sha256 === wanted.sha256 && sizeBytes === wanted.sizeBytes)
      )
        throw new SluiceError('SLUICE_FW_UPDATE_BYTES', 'no order names the image of this stream')
      opening ??= open()
      const { images } = await opening
      ready()
      signal.throwIfAborted()
      await images.receive(wanted, endpoint.channel(0))
      return { haveBytes: images.has(wanted.sha256) ? wanted.sizeBytes : images.partialBytes(wanted.sha256) }
    },
    async [Symbol.asyncDispose]() {
      stop()
      await (await opening)?.updater[Symbol.asyncDispose]()
    },
  }
}
