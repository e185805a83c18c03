import { SluiceError } from '../../api/errors.ts'
import type { PatchedStore } from './byte-store.ts'
import { type Geometry, readGeometry } from './fat-geometry.ts'
import { aliasFor, checksum, longEntries, MAX_NAME_UNITS, plainShortName, shortNameOf, unitsOf } from './fat-names.ts'

/**
 * A FAT16 or FAT32 file system inside an image, to read and to add files to. Written by ourselves and not through
 * mtools, because it works on an image that is still compressed: changes go into a layer above it (`PatchedStore`), are
 * complete before the first byte reaches the card, and need no tool on the machine. mtools and fsck.fat are the
 * counter-check in the tests.
 */

export interface FatEntry {
  readonly name: string
  readonly isFolder: boolean
  readonly sizeBytes: number
}

interface Slot extends FatEntry {
  /** 11 bytes as latin1. */
  readonly short: string
  readonly cluster: number
  /** Index of the short entry in its folder. */
  readonly index: number
}

/** Either the fixed root of FAT16 or a chain of clusters. */
interface Folder {
  readonly cluster: number
  bytes: Buffer
}

const ENTRY = 32
const VOLUME_LABEL = 0x08
const FOLDER = 0x10
const LONG = 0x0f
/** The specification's limit of a folder. */
const MAX_FOLDER_BYTES = 65_536 * ENTRY

export class FatVolume {
  readonly #store: PatchedStore
  readonly #start: number
  readonly #geometry: Geometry
  readonly #table: Buffer
  readonly #stamp: { date: number; time: number }
  #free: number
  #next = 2

  /** Throws SLUICE_FLASH_FAT when the partition holds no FAT16 or FAT32, or a damaged one. `nowMs` stamps new files. */
  constructor(store: PatchedStore, partition: { startByte: number; lengthBytes: number }, nowMs: number) {
    this.#store = store
    this.#start = partition.startByte
    this.#geometry = readGeometry(store, partition)
    const { tableAt, tableBytes, clusters } = this.#geometry
    this.#table = store.readAt(this.#start + tableAt, tableBytes)
    this.#stamp = dosTime(nowMs)
    let free = 0
    for (let cluster = 2; cluster < clusters + 2; cluster++) if (this.#entry(cluster) === 0) free++
    this.#free = free
  }

  get freeBytes(): number {
    return this.#free * this.#geometry.clusterBytes
  }

  list(path = ''): readonly FatEntry[] {
    return slotsOf(this.#folder(path)).filter(({ name }) => name !== '.' && name !== '..')
  }

  has(path: string): boolean {
    return this.#find(path) !== undefined
  }

  /** The content of a file, or undefined when there is none; throws SLUICE_FLASH_FAT above `maxBytes`. */
  read(path: string, maxBytes: number): Buffer | undefined {
    const slot = this.#find(path)
    if (slot === undefined || slot.isFolder) return undefined
    if (slot.sizeBytes > maxBytes) throw damaged(`'${path}' has ${slot.sizeBytes} bytes, more than such a file may`)
    if (slot.sizeBytes === 0) return Buffer.alloc(0)
    const bytes = this.#readChain(slot.cluster, Math.ceil(slot.sizeBytes / this.#geometry.clusterBytes))
    if (bytes.length < slot.sizeBytes) throw damaged(`'${path}' is longer than the clusters it has`)
    return bytes.subarray(0, slot.sizeBytes)
  }

  /** Makes or replaces a file, and the folders it lies in. Throws SLUICE_FLASH_FAT_FULL, with nothing half done. */
  write(path: string, content: Uint8Array): void {
    const needed = Math.ceil(content.length / this.#geometry.clusterBytes) * this.#geometry.clusterBytes
    // Two more clusters: for a new folder, and for a folder that has to grow.
    if (needed + 2 * this.#geometry.clusterBytes > this.freeBytes) {
      throw new SluiceError(
        'SLUICE_FLASH_FAT_FULL',
        `The image's boot partition has ${mib(this.freeBytes)} free, '${path}' needs ${mib(needed)}`,
        {
          hint: 'Use an image with a larger boot partition (Raspberry Pi OS: 512 MB since 2023), or a smaller bundle.',
        },
      )
    }
    const { parent, name } = split(path)
    if (parent !== '') this.#makeFolder(parent)
    const folder = this.#folder(parent)
    const before = slotsOf(folder).find((slot) => sameName(slot, name))
    if (before?.isFolder === true) throw damaged(`'${path}' is a folder`)
    const cluster = this.#keep(content)
    if (before !== undefined) {
      this.#release(before.cluster)
      const entry = folder.bytes.subarray(before.index * ENTRY, (before.index + 1) * ENTRY)
      this.#describe(entry, cluster, content.length)
      this.#saveFolder(folder)
    } else this.#addEntry(folder, name, (entry) => this.#describe(entry, cluster, content.length))
    this.#saveTable()
  }

  #makeFolder(path: string): void {
    const existing = this.#find(path)
    if (existing?.isFolder === true) return
    if (existing !== undefined) throw damaged(`'${path}' is a file`)
    const { parent, name } = split(path)
    if (parent !== '') this.#makeFolder(parent)
    const above = this.#folder(parent)
    const content = Buffer.alloc(this.#geometry.clusterBytes)
    const cluster = this.#keep(content)
    for (const [index, [dots, target]] of [['.', cluster] as const, ['..', above.cluster] as const].entries()) {
      const entry = content.subarray(index * ENTRY, (index + 1) * ENTRY)
      entry.write(dots.padEnd(11), 'latin1')
      entry.writeUInt8(FOLDER, 11)
      // The root is called 0 there even where it has a cluster.
      this.#describe(entry, target === this.#geometry.rootCluster ? 0 : target, 0)
    }
    this.#writeCluster(cluster, content)
    this.#addEntry(above, name, (entry) => {
      entry.writeUInt8(FOLDER, 11)
      this.#describe(entry, cluster, 0)
    })
  }

  #addEntry(folder: Folder, name: string, fill: (entry: Buffer) => void): void {
    if (name.length === 0 || name.length > MAX_NAME_UNITS || /[\p{Cc}"*/:<>?\\|]/u.test(name)) {
      throw damaged(`'${name}' cannot be a name on a FAT`)
    }
    const plain = plainShortName(name)
    const taken = new Set(slotsOf(folder).map(({ short }) => short))
    const short = plain ?? aliasFor(name, taken)
    const last = Buffer.alloc(ENTRY)
    last.set(short)
    last.writeUInt8(0x20, 11)
    fill(last)
    const entries = [...(plain === undefined ? longEntries(name, short) : []), last]
    const index = this.#roomFor(folder, entries.length)
    entries.forEach((entry, offset) => void entry.copy(folder.bytes, (index + offset) * ENTRY))
    this.#saveFolder(folder)
  }

  /** Index of `count` free entries in a row; a folder that has none grows by a cluster. */
  #roomFor(folder: Folder, count: number): number {
    let run = 0
    for (let index = 0; index < folder.bytes.length / ENTRY; index++) {
      const first = folder.bytes.readUInt8(index * ENTRY)
      run = first === 0 || first === 0xe5 ? run + 1 : 0
      if (run === count) return index - count + 1
    }
    if (folder.cluster === 0 || folder.bytes.length >= MAX_FOLDER_BYTES) throw damaged('a folder of it is full')
    const more = this.#allocate()
    const chain = this.#chain(folder.cluster, this.#geometry.clusters)
    this.#setEntry(chain.at(-1)!, more)
    folder.bytes = Buffer.concat([folder.bytes, Buffer.alloc(this.#geometry.clusterBytes)])
    return this.#roomFor(folder, count)
  }

  #describe(entry: Buffer, cluster: number, size: number): void {
    const { date, time } = this.#stamp
    entry.writeUInt16LE(time, 14)
    entry.writeUInt16LE(date, 16)
    entry.writeUInt16LE(date, 18)
    entry.writeUInt16LE(this.#geometry.kind === 'fat32' ? cluster >>> 16 : 0, 20)
    entry.writeUInt16LE(time, 22)
    entry.writeUInt16LE(date, 24)
    entry.writeUInt16LE(cluster & 0xffff, 26)
    entry.writeUInt32LE(size, 28)
  }

  #find(path: string): Slot | undefined {
    const { parent, name } = split(path)
    if (parent !== '' && this.#find(parent)?.isFolder !== true) return undefined
    return slotsOf(this.#folder(parent)).find((slot) => sameName(slot, name))
  }

  #folder(path: string): Folder {
    const { rootCluster, rootAt, rootBytes } = this.#geometry
    if (path === '') {
      if (rootCluster === 0) return { cluster: 0, bytes: this.#store.readAt(this.#start + rootAt, rootBytes) }
      return { cluster: rootCluster, bytes: this.#readFolder(rootCluster) }
    }
    const slot = this.#find(path)
    if (slot?.isFolder !== true) throw damaged(`there is no folder '${path}'`)
    return { cluster: slot.cluster, bytes: this.#readFolder(slot.cluster) }
  }

  #readFolder(cluster: number): Buffer {
    return this.#readChain(cluster, Math.ceil(MAX_FOLDER_BYTES / this.#geometry.clusterBytes))
  }

  #saveFolder(folder: Folder): void {
    if (folder.cluster === 0) {
      this.#store.writeAt(this.#start + this.#geometry.rootAt, folder.bytes)
      return
    }
    const { clusterBytes } = this.#geometry
    this.#chain(folder.cluster, this.#geometry.clusters).forEach((cluster, index) => {
      this.#writeCluster(cluster, folder.bytes.subarray(index * clusterBytes, (index + 1) * clusterBytes))
    })
  }

  #readChain(first: number, maxClusters: number): Buffer {
    return Buffer.concat(
      this.#chain(first, maxClusters).map((cluster) =>
        this.#store.readAt(this.#place(cluster), this.#geometry.clusterBytes),
      ),
    )
  }

  /** Never longer than there are clusters, so a chain in a circle ends here. */
  #chain(first: number, max: number): number[] {
    const chain: number[] = []
    const seen = new Set<number>()
    for (let cluster = first; ; ) {
      if (cluster < 2 || cluster >= this.#geometry.clusters + 2) throw damaged(`a chain leads to cluster ${cluster}`)
      if (seen.has(cluster)) throw damaged('a chain of clusters goes in a circle')
      if (chain.length === max) return chain
      seen.add(cluster)
      chain.push(cluster)
      const next = this.#entry(cluster)
      if (next >= this.#geometry.endMark) return chain
      cluster = next
    }
  }

  /** Stores content in new clusters; the first one, or 0 for nothing. */
  #keep(content: Uint8Array): number {
    const { clusterBytes } = this.#geometry
    let first = 0
    let before = 0
    for (let at = 0; at < content.length; at += clusterBytes) {
      const cluster = this.#allocate()
      if (before === 0) first = cluster
      else this.#setEntry(before, cluster)
      this.#writeCluster(cluster, content.subarray(at, at + clusterBytes))
      before = cluster
    }
    return first
  }

  /** A free cluster, now marked as the end of a chain. */
  #allocate(): number {
    const { clusters } = this.#geometry
    for (let tried = 0; tried < clusters; tried++) {
      const cluster = this.#next
      this.#next = cluster + 1 >= clusters + 2 ? 2 : cluster + 1
      if (this.#entry(cluster) !== 0) continue
      this.#setEntry(cluster, 0x0fff_ffff)
      this.#free--
      return cluster
    }
    throw new SluiceError('SLUICE_FLASH_FAT_FULL', "The image's boot partition is full", {
      hint: 'Use an image with a larger boot partition.',
    })
  }

  #release(first: number): void {
    if (first === 0) return
    for (const cluster of this.#chain(first, this.#geometry.clusters)) {
      this.#setEntry(cluster, 0)
      this.#free++
    }
  }

  #writeCluster(cluster: number, bytes: Uint8Array): void {
    const { clusterBytes } = this.#geometry
    const whole = bytes.length === clusterBytes ? bytes : Buffer.concat([bytes], clusterBytes)
    this.#store.writeAt(this.#place(cluster), whole)
  }

  #place(cluster: number): number {
    return this.#start + this.#geometry.dataAt + (cluster - 2) * this.#geometry.clusterBytes
  }

  #entry(cluster: number): number {
    return this.#geometry.kind === 'fat32'
      ? this.#table.readUInt32LE(cluster * 4) & 0x0fff_ffff
      : this.#table.readUInt16LE(cluster * 2)
  }

  #setEntry(cluster: number, value: number): void {
    if (this.#geometry.kind === 'fat16') this.#table.writeUInt16LE(value & 0xffff, cluster * 2)
    // The four uppermost bits are not ours.
    else {
      const kept = this.#table.readUInt32LE(cluster * 4) & 0xf000_0000
      this.#table.writeUInt32LE((kept | (value & 0x0fff_ffff)) >>> 0, cluster * 4)
    }
  }

  /** All copies of the table, and what FAT32 says elsewhere about how much is free. */
  #saveTable(): void {
    const { tableAt, tableBytes, tables, infoAt } = this.#geometry
    for (let copy = 0; copy < tables; copy++) {
      this.#saveChanged(this.#start + tableAt + copy * tableBytes)
    }
    if (infoAt === undefined) return
    const info = this.#store.readAt(this.#start + infoAt, 512)
    if (info.readUInt32LE(0) !== 0x41615252 || info.readUInt32LE(484) !== 0x61417272) return
    info.writeUInt32LE(this.#free, 488)
    info.writeUInt32LE(this.#next, 492)
    this.#store.writeAt(this.#start + infoAt, info)
  }

  /** Only what differs, so that a large table does not become a large change. */
  #saveChanged(at: number): void {
    for (let offset = 0; offset < this.#table.length; offset += 512) {
      const part = this.#table.subarray(offset, offset + 512)
      if (!this.#store.readAt(at + offset, part.length).equals(part)) this.#store.writeAt(at + offset, part)
    }
  }
}

/** The used entries of a folder. A long name counts only when it belongs to the short one after it. */
function slotsOf({ bytes }: Folder): Slot[] {
  const slots: Slot[] = []
  let long: { order: number; sum: number; text: string } | undefined
  for (let index = 0; index < bytes.length / ENTRY; index++) {
    const entry = bytes.subarray(index * ENTRY, (index + 1) * ENTRY)
    const first = entry.readUInt8(0)
    if (first === 0) break
    const attributes = entry.readUInt8(11)
    if (first === 0xe5) long = undefined
    else if ((attributes & 0x3f) === LONG) {
      const order = first & 0x3f
      const sum = entry.readUInt8(13)
      if ((first & 0x40) !== 0) long = { order, sum, text: unitsOf(entry) }
      else if (long !== undefined && order === long.order - 1 && sum === long.sum) {
        long = { order, sum, text: unitsOf(entry) + long.text }
      } else long = undefined
    } else {
      const belongs = long?.order === 1 && long.sum === checksum(entry.subarray(0, 11))
      if ((attributes & VOLUME_LABEL) === 0) {
        slots.push({
          name: belongs ? long!.text : shortNameOf(entry),
          short: entry.toString('latin1', 0, 11),
          isFolder: (attributes & FOLDER) !== 0,
          sizeBytes: entry.readUInt32LE(28),
          cluster: ((entry.readUInt16LE(20) << 16) >>> 0) + entry.readUInt16LE(26),
          index,
        })
      }
      long = undefined
    }
  }
  return slots
}

const sameName = (slot: Slot, name: string): boolean => slot.name.toLowerCase() === name.toLowerCase()

function split(path: string): { parent: string; name: string } {
  const slash = path.lastIndexOf('/')
  return { parent: slash < 0 ? '' : path.slice(0, slash), name: path.slice(slash + 1) }
}

/** Seconds count in twos, years from 1980. */
function dosTime(nowMs: number): { date: number; time: number } {
  const at = new Date(nowMs)
  const year = Math.min(127, Math.max(0, at.getUTCFullYear() - 1980))
  return {
    date: (year << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate(),
    time: (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1),
  }
}

const mib = (bytes: number): string => `${(bytes / 1_048_576).toFixed(1)} MiB`

const damaged = (what: string): SluiceError =>
  new SluiceError('SLUICE_FLASH_FAT', `The image's boot partition cannot be used: ${what}`, {
    hint: 'Download the image once more and compare its checksum: --sha256.',
  })
