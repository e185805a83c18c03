import { beforeEach, describe, expect, it } from 'vitest'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { PresenceBoard } from './presence.ts'

let clock: VirtualClock
let board: PresenceBoard
let told: string[]
beforeEach(() => {
  clock = new VirtualClock()
  board = new PresenceBoard(clock, 40_000)
  told = []
  board.listen({ online: (gateway) => told.push(`+${gateway}`), away: (gateway) => told.push(`-${gateway}`) })
})

describe('the presence of a gateway', () => {
  it('outlives a short cut of its link, and ends when the grace is over', async () => {
    board.connected('gw')
    board.disconnected('gw', clock.now())
    await clock.advance(39_000)
    board.connected('gw')
    board.disconnected('gw', clock.now())
    await clock.advance(39_000)
    expect(told).toEqual(['+gw', '+gw'])
    await clock.advance(1_000)
    expect(told).toEqual(['+gw', '+gw', '-gw'])
    expect(board.state('gw')).toBe('away')
  })

  it('ends at once when it is shut out, and is told once however its link ends', async () => {
    board.connected('gw')
    board.gone('gw')
    board.disconnected('gw', clock.now())
    board.gone('gw')
    await clock.advance(60_000)
    expect(told).toEqual(['+gw', '-gw'])
    board.connected('gw')
    expect(board.state('gw')).toBe('online')
  })

  it('knows nothing of a gateway that was never here', () => {
    board.gone('gw')
    expect(told).toEqual([])
    expect(board.state('gw')).toBeUndefined()
  })
})
