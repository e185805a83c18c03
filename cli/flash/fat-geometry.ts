import { SluiceError } from '../../api/errors.ts'
import type { ByteStore } from './byte-store.ts'

/** Where the parts of a FAT file system are, in bytes from the start of its partition. */
export interface Geometry {
  readonly kind: 'fat16' | 'fat32'
  readonly clusterBytes: number
  /** How many there are; the first has number 2. */
  readonly clusters: number
  readonly tableAt: number
  readonly tableBytes: number
  readonly tables: number
  /** The fixed root folder of FAT16; empty for FAT32. */
  readonly rootAt: number
  readonly rootBytes: number
  /** The root's first cluster in FAT32, else 0. */
  readonly rootCluster: number
  readonly dataAt: number
  readonly infoAt: number | undefined
  /** Entries of the table from here on end a chain. */
  readonly endMark: number
  readonly label: string
}

/** A table beyond this belongs to a disk of terabytes, not to a boot partition. */
const MAX_TABLE_BYTES = 64 * 1024 * 1024

/** Reads and checks the header. Throws SLUICE_FLASH_FAT; every number in it may be a lie. */
export function readGeometry(store: ByteStore, partition: { startByte: number; lengthBytes: number }): Geometry {
  if (partition.lengthBytes < 512) throw noFat('it is smaller than a sector')
  const header = store.readAt(partition.startByte, 512)
  const sector = header.readUInt16LE(11)
  const perCluster = header.readUInt8(13)
  const reserved = header.readUInt16LE(14)
  const tables = header.readUInt8(16)
  const rootEntries = header.readUInt16LE(17)
  const total = header.readUInt16LE(19) || header.readUInt32LE(32)
  const small = header.readUInt16LE(22)
  const tableSectors = small || header.readUInt32LE(36)
  if (header.readUInt16LE(510) !== 0xaa55) throw noFat('its header has no end mark')
  if (![512, 1024, 2048, 4096].includes(sector)) throw noFat(`its sectors have ${sector} bytes`)
  if (perCluster === 0 || (perCluster & (perCluster - 1)) !== 0) throw noFat(`its clusters have ${perCluster} sectors`)
  if (reserved === 0 || tables < 1 || tables > 2 || tableSectors === 0) throw noFat('its header says nonsense')
  if (total * sector > partition.lengthBytes) throw noFat('it is larger than its partition')
  const tableBytes = tableSectors * sector
  const rootBytes = Math.ceil((rootEntries * 32) / sector) * sector
  const tableAt = reserved * sector
  const rootAt = tableAt + tables * tableBytes
  const dataAt = rootAt + rootBytes
  const clusterBytes = perCluster * sector
  const clusters = Math.floor((total * sector - dataAt) / clusterBytes)
  if (tableBytes > MAX_TABLE_BYTES) throw noFat('its table is far too large')
  if (dataAt >= total * sector || clusters < 1) throw noFat('there is no room for files in it')
  // As Linux and mkfs.fat see it: which of the two size fields is in use decides, not the count of clusters alone.
  const kind = small === 0 ? 'fat32' : 'fat16'
  if (kind === 'fat16' && clusters < 4085) throw noFat('it is a FAT12, which no boot partition is')
  if (kind === 'fat16' && (clusters > 65_524 || rootBytes === 0)) throw noFat('its header says nonsense')
  if (tableBytes < (clusters + 2) * (kind === 'fat32' ? 4 : 2)) throw noFat('its table is too short')
  const rootCluster = kind === 'fat32' ? header.readUInt32LE(44) : 0
  if (kind === 'fat32' && (rootCluster < 2 || rootCluster >= clusters + 2)) throw noFat('its root folder is nowhere')
  const info = kind === 'fat32' ? header.readUInt16LE(48) : 0
  return {
    kind,
    clusterBytes,
    clusters,
    tableAt,
    tableBytes,
    tables,
    rootAt,
    rootBytes,
    rootCluster,
    dataAt,
    infoAt: info > 0 && info < reserved ? info * sector : undefined,
    endMark: kind === 'fat32' ? 0x0fff_fff8 : 0xfff8,
    label: header.toString('latin1', kind === 'fat32' ? 71 : 43, kind === 'fat32' ? 82 : 54).trimEnd(),
  }
}

const noFat = (what: string): SluiceError =>
  new SluiceError('SLUICE_FLASH_FAT', `The image's boot partition cannot be used: ${what}`, {
    hint: 'Download the image once more and compare its checksum: --sha256.',
  })
