import { startHost } from './host-rig.ts'
import { qemuBoards, startQemu } from './qemu-rig.ts'
import type { BoardRig, RigOptions } from './rig.ts'
import { startRp2040 } from './rp2040-rig.ts'

/** Starts whatever stands in for the board of a build: QEMU, the RP2040 in this process, or the host port. */
export async function startBoard(options: RigOptions): Promise<BoardRig> {
  const { name } = options.build.board
  if (name === 'host') return startHost(options)
  return qemuBoards.includes(name) ? startQemu(options) : startRp2040(options)
}
