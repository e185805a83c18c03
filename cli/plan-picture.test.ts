import { describe, expect, it } from 'vitest'
import type { PlanExplanation } from '../mappers/sdk/mapper.ts'
import { colorless } from './output.ts'
import { milliseconds, percent, planPicture } from './plan-picture.ts'
import { displayWidth } from './text.ts'

const plan: PlanExplanation = {
  device: 'plant/meter-3',
  link: '/dev/ttyUSB0 (rtu 9600 8N1), unit 3',
  load: 0.2,
  naiveLoad: 0.5,
  requests: [
    {
      request: 'FC4 input 0x0000..0x0007 (8 registers)',
      everyMs: 1000,
      properties: ['voltage', 'power'],
      busMs: 43.3,
      why: 'near enough',
      table: 'input',
      start: 0,
      length: 8,
      filler: 4,
    },
  ],
  notes: ['turnaround assumed'],
}

describe('planPicture', () => {
  it('draws what is asked for and what is read along where it is', () => {
    const places = new Map([
      ['voltage', { table: 'input', start: 0, length: 2 }],
      ['power', { table: 'input', start: 6, length: 2 }],
    ])
    expect(planPicture(plan, { style: colorless, width: 80, places })).toEqual([
      'plant/meter-3  on /dev/ttyUSB0 (rtu 9600 8N1), unit 3',
      '',
      '  planned      ████················    20 % of the link',
      '  one by one   ██████████··········    50 %  2.5 times as much',
      '',
      '  1  FC4 input 0x0000..0x0007 (8 registers)   every 1s   43 ms',
      '     0x0000 ████░░░░░░░░▓▓▓▓ 0x0007  4 of 8 read along',
      '     serves  voltage, power',
      '     why     near enough',
      '',
      '  • turnaround assumed',
      '',
      '  █▓ asked for, a shade a property',
      '  ░ read along, because asking twice takes longer',
    ])
  })

  it('still shows how much is filler when it does not know where', () => {
    const lines = planPicture(plan, { style: colorless, width: 100 })
    expect(lines.join('\n')).toContain('0x0000 ████▓▓▓▓░░░░░░░░ 0x0007')
    expect(lines.join('\n')).toContain('(drawn at the end, whatever its place)')
  })

  it('says clearly when the link cannot carry it', () => {
    const lines = planPicture({ ...plan, load: 1.4, naiveLoad: 3 }, { style: colorless, width: 100 })
    expect(lines.join('\n')).toContain('140 % of the link  more than the link can carry')
  })

  it('squeezes long requests and keeps the head within the width', () => {
    const wide = { ...plan, requests: [{ ...plan.requests[0]!, length: 2000, filler: 0 }] }
    for (const line of planPicture(wide, { style: colorless, width: 80 }))
      expect(displayWidth(line)).toBeLessThanOrEqual(80)
  })

  it('has a word for a device that is never read', () => {
    expect(planPicture({ ...plan, requests: [], load: 0, naiveLoad: 0 }, { style: colorless, width: 80 })).toContain(
      '  Nothing is read from this device.',
    )
  })
})

describe('numbers of a plan', () => {
  it('have as many digits as mean something', () => {
    expect([0, 0.0004, 0.034, 0.5, 1.2].map(percent)).toEqual(['0.0 %', '< 0.1 %', '3.4 %', '50 %', '120 %'])
    expect([1.26, 93.2].map(milliseconds)).toEqual(['1.3 ms', '93 ms'])
  })
})
