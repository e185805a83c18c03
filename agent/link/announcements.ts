import type { Clock, Timer } from '../../api/clock.ts'
import { MAX_FIRMWARE_ITEMS } from '../../api/link/firmware.ts'
import type { AgentFrame } from '../../api/link/messages.ts'
import { MAX_NOTICE_ITEMS } from '../../api/link/notices.ts'
import { MAX_POD_STATUS_ITEMS } from '../../api/link/pods.ts'
import { MAX_SIGHTED_ITEMS, SIGHTED_FRAME_CHARACTERS, type SightedItem } from '../../api/link/sighted.ts'
import type { StaticPod } from '../../api/link/static-pods.ts'
import type { Sightings } from '../discovery/sightings.ts'
import type { UpdateBoard } from '../firmware/update-board.ts'
import type { Notices } from '../notices/notices.ts'
import type { PodStatusBoard } from '../pods/status-board.ts'
import type { HeardBoard } from '../roaming/heard-board.ts'

export interface AnnouncementsOptions {
  readonly clock: Clock
  readonly sightings: Sightings
  readonly notices: Notices
  readonly heard: HeardBoard
  /** Undefined where no pods run. */
  readonly pods: PodStatusBoard | undefined
  /** Pods of this gateway's own files. */
  readonly statics: () => readonly StaticPod[]
  readonly updates: UpdateBoard
  readonly send: (frame: AgentFrame) => void
  /** Sends a ping and returns its id: the hub takes frames in order, so its pong confirms everything before it. */
  readonly ping: () => number
}

const SIGHTED_MIN_MS = 1000
const NOTICE_MIN_MS = 200
/** Devices that are heard within this share a frame. */
const HEARD_MIN_MS = 50
/** A pod's start is several changes within milliseconds; the first waits no longer than a person would notice. */
const PODS_MIN_MS = 20
/** A percentage that moves many times a second is told a few times. */
const UPDATES_MIN_MS = 250

/** What one connection tells the hub besides values: devices nobody configured and things a person should know. */
export class Announcements implements Disposable {
  readonly #options: AnnouncementsOptions
  #sightedTimer: Timer | undefined
  /** Change of the sightings up to which the hub was told. */
  #sightedChange = 0
  #heardTimer: Timer | undefined
  #podsTimer: Timer | undefined
  #podsChange = 0
  /** What this hub was told of; undefined before the first time. */
  #statics: readonly StaticPod[] | undefined
  #updatesTimer: Timer | undefined
  #updatesChange = 0
  #noticeTimer: Timer | undefined
  /** Change of the notices up to which the hub was told in this connection; undefined before the first. */
  #noticeChange: number | undefined
  /** What a pong confirms, by the ping that was sent behind it. */
  readonly #noticePings = new Map<number, number>()

  constructor(options: AnnouncementsOptions) {
    this.#options = options
  }

  /** Tells everything; after a welcome. */
  begin(): void {
    this.#sendSighted()
    this.#sendNotices()
    this.#sendHeard(true)
    this.#sendPods()
    this.#sendUpdates()
  }

  /** There are new sightings; those that come together are told in one frame. */
  sighted(): void {
    this.#sightedTimer ??= this.#options.clock.after(
      SIGHTED_MIN_MS,
      () => {
        this.#sightedTimer = undefined
        this.#sendSighted()
      },
      true,
    )
  }

  noticed(): void {
    this.#noticeTimer ??= this.#options.clock.after(
      NOTICE_MIN_MS,
      () => {
        this.#noticeTimer = undefined
        this.#sendNotices()
      },
      true,
    )
  }

  heard(): void {
    this.#heardTimer ??= this.#options.clock.after(
      HEARD_MIN_MS,
      () => {
        this.#heardTimer = undefined
        this.#sendHeard()
      },
      true,
    )
  }

  /** Statuses of pods have changed. */
  pods(): void {
    this.#podsTimer ??= this.#options.clock.after(
      PODS_MIN_MS,
      () => {
        this.#podsTimer = undefined
        this.#sendPods()
      },
      true,
    )
  }

  /** Something became of firmware updates. */
  updates(): void {
    this.#updatesTimer ??= this.#options.clock.after(
      UPDATES_MIN_MS,
      () => {
        this.#updatesTimer = undefined
        this.#sendUpdates()
      },
      true,
    )
  }

  pong(pingId: number): void {
    for (const [id, change] of this.#noticePings) {
      if (id > pingId) continue
      this.#noticePings.delete(id)
      this.#options.notices.confirmed(change)
    }
  }

  [Symbol.dispose](): void {
    this.#sightedTimer?.cancel()
    this.#noticeTimer?.cancel()
    this.#heardTimer?.cancel()
    this.#podsTimer?.cancel()
    this.#updatesTimer?.cancel()
  }

  #sendSighted(): void {
    const { change, items } = this.#options.sightings.since(this.#sightedChange)
    this.#sightedChange = change
    let some: SightedItem[] = []
    let characters = 0
    const flush = () => {
      if (some.length > 0) this.#options.send({ t: 'sighted', items: some })
      some = []
      characters = 0
    }
    for (const item of items) {
      some.push(item)
      characters += JSON.stringify(item).length
      if (some.length >= MAX_SIGHTED_ITEMS || characters >= SIGHTED_FRAME_CHARACTERS) flush()
    }
    flush()
  }

  #sendHeard(all = false): void {
    const items = this.#options.heard.take(all)
    if (items.length > 0) this.#options.send({ t: 'heard', items })
  }

  #sendPods(): void {
    const { pods, send } = this.#options
    if (pods === undefined) return
    const statics = this.#options.statics()
    // Before what became of them: the hub has to know whose that is.
    if (statics !== this.#statics) send({ t: 'pods', items: [], statics })
    this.#statics = statics
    const { change, items } = pods.since(this.#podsChange)
    this.#podsChange = change
    for (let at = 0; at < items.length; at += MAX_POD_STATUS_ITEMS) {
      send({ t: 'pods', items: items.slice(at, at + MAX_POD_STATUS_ITEMS) })
    }
  }

  #sendUpdates(): void {
    const { updates, send } = this.#options
    const { change, items } = updates.since(this.#updatesChange)
    this.#updatesChange = change
    for (let at = 0; at < items.length; at += MAX_FIRMWARE_ITEMS) {
      send({ t: 'firmware', items: items.slice(at, at + MAX_FIRMWARE_ITEMS) })
    }
  }

  #sendNotices(): void {
    const { notices, send, ping } = this.#options
    const { change, items } = notices.since(this.#noticeChange)
    this.#noticeChange = change
    if (items.length === 0) return
    for (let at = 0; at < items.length; at += MAX_NOTICE_ITEMS) {
      send({ t: 'events', items: items.slice(at, at + MAX_NOTICE_ITEMS) })
    }
    this.#noticePings.set(ping(), change)
  }
}
