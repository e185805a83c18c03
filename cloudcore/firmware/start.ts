import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Clock, delay } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import { FIRMWARE_STREAM, isSha256 } from '../../api/link/firmware.ts'
import type { FirmwareRelease, FirmwareRollout } from '../../api/resources.ts'
import { authenticate } from '../console-api/access.ts'
import { sendError, sendJson } from '../console-api/http.ts'
import type { EventRecorder } from '../gateways/event-recorder.ts'
import type { KubeClient } from '../kube/client.ts'
import { collectionPath, FIRMWARE_RELEASES, FIRMWARE_ROLLOUTS } from '../kube/paths.ts'
import { watchResource } from '../kube/watch.ts'
import type { StreamBroker } from '../streams/broker.ts'
import type { Fleet } from '../twins/fleet.ts'
import { FirmwareController } from './controller.ts'
import { ImageFolder, readImageBody } from './image-folder.ts'
import { kubeFirmwareObjects } from './objects.ts'
import { FirmwareOrders } from './orders.ts'

export interface FirmwareOptions {
  readonly client: KubeClient
  readonly fleet: Fleet
  readonly streams: StreamBroker
  readonly events: EventRecorder
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Where the bytes of releases are kept. */
  readonly folder: string
  readonly bearerToken: () => string | undefined
  readonly onTrouble: (what: string, error: SluiceError) => void
}

export interface CloudFirmware {
  readonly orders: FirmwareOrders
  readonly told: FirmwareController['told']
  /** Resolves when every release and rollout there is was read: before, a gateway would be told that nothing is ordered. */
  readonly synced: Promise<void>
  /** Serves `PUT|GET /v1/firmware/{sha256}`; undefined for everything else. */
  handle(request: IncomingMessage, response: ServerResponse): Promise<void> | undefined
}

const SEND_AGAIN_MS = 5000
const SEND_TRIES = 5
const ROUTE = /^\/v1\/firmware\/([0-9a-f]{64})$/

/** Releases, rollouts and their bytes, following the objects of a Kubernetes API until the signal aborts. */
export function startFirmware(options: FirmwareOptions): CloudFirmware {
  const { client, fleet, events, clock, signal, onTrouble } = options
  const images = new ImageFolder(options.folder)
  const find = (key: string) => fleet.devices.get(key)
  const orders = new FirmwareOrders(find)
  const sender = new ImageSender(options, images)
  const controller = new FirmwareController({
    ...{ objects: kubeFirmwareObjects(client), images, orders, find, clock, signal, onTrouble },
    record: (note) => events.record(note),
    onNeeds: (gateway, needs) => void sender.send(gateway, needs),
  })
  fleet.listen({
    deviceChanged: ({ key, gateway }, before) => orders.moved(key, before, ...(before === undefined ? [] : [gateway])),
    deviceRemoved: ({ key, gateway }) => orders.moved(key, gateway),
  })
  const releases = watchResource<FirmwareRelease, true>(
    client,
    collectionPath(FIRMWARE_RELEASES),
    {
      upsert: (object) => controller.release(object),
      remove: (key) => controller.releaseRemoved(key),
      trouble: (error) => onTrouble('watch of firmware releases', error),
    },
    { clock, signal, keep: () => true },
  )
  // After the releases and the devices: a rollout that finds neither would say so for a moment.
  const rollouts = watchResource<FirmwareRollout, true>(
    client,
    collectionPath(FIRMWARE_ROLLOUTS),
    {
      upsert: (object) => controller.rollout(object),
      remove: (key) => controller.rolloutRemoved(key),
      trouble: (error) => onTrouble('watch of firmware rollouts', error),
    },
    { clock, signal, keep: () => true },
  )
  const serve = async (request: IncomingMessage, response: ServerResponse, sha256: string) => {
    authenticate(request, options.bearerToken())
    if (request.method === 'GET' || request.method === 'HEAD') {
      if (!images.has(sha256)) throw new SluiceError('SLUICE_API_NOT_FOUND', 'there is no such firmware image')
      return sendJson(response, 200, { sha256 })
    }
    if (request.method !== 'PUT') throw new SluiceError('SLUICE_API_METHOD', 'only PUT and GET are possible here')
    try {
      await images.put(sha256, await readImageBody(request.iterator({ destroyOnReturn: false })))
    } finally {
      request.resume()
    }
    return sendJson(response, 201, { sha256 })
  }
  return {
    orders,
    told: (gateway, items) => controller.told(gateway, items),
    synced: Promise.all([releases.synced, rollouts.synced]).then(() => controller.settled()),
    handle(request, response) {
      const sha256 = ROUTE.exec((request.url ?? '').split('?', 1)[0] ?? '')?.[1]
      if (!isSha256(sha256)) return undefined
      return serve(request, response, sha256).catch((thrown: unknown) => sendError(response, thrown))
    },
  }
}

/** Brings bytes to gateways, each image once at a time to each. */
class ImageSender {
  readonly #options: FirmwareOptions
  readonly #images: ImageFolder
  readonly #under = new Set<string>()

  constructor(options: FirmwareOptions, images: ImageFolder) {
    this.#options = options
    this.#images = images
  }

  async send(gateway: string, target: { sha256: string; sizeBytes: number; fromByte: number }): Promise<void> {
    const id = `${gateway} ${target.sha256}`
    const { clock, signal, onTrouble } = this.#options
    if (this.#under.has(id)) return
    this.#under.add(id)
    try {
      for (let tries = 1; ; tries++) {
        try {
          return await this.#once(gateway, target)
        } catch (thrown) {
          // A gateway that comes back asks by itself.
          if (signal.aborted || tries === SEND_TRIES) throw thrown
          await delay(clock, SEND_AGAIN_MS, signal)
        }
      }
    } catch (thrown) {
      if (!signal.aborted) onTrouble(`firmware image to gateway ${gateway}`, toSluiceError(thrown))
    } finally {
      this.#under.delete(id)
    }
  }

  async #once(gateway: string, target: { sha256: string; sizeBytes: number; fromByte: number }): Promise<void> {
    const bytes = await this.#images.read(target.sha256)
    const { streams, signal } = this.#options
    const endpoint = await streams.dial({ gateway, kind: FIRMWARE_STREAM, target, signal })
    endpoint.channel(0).end(bytes.subarray(target.fromByte))
    await endpoint.outcome
  }
}
