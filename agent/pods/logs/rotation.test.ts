import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { removeLogs, rotateLog } from './rotation.ts'

it('logs are moved away, the newest are kept, and neighbours are left alone', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-logs-'))
  try {
    const path = join(folder, '0.log')
    writeFileSync(join(folder, '10.log'), 'another attempt')
    for (let at = 0; at < 9; at++) {
      writeFileSync(path, `part ${at}`)
      rotateLog(path, { maxBytes: 1, maxFiles: 5 }, Date.UTC(2026, 0, 1) + at)
    }
    const names = readdirSync(folder).sort()
    expect(names).toEqual([
      '0.log.20260101-000000.005',
      '0.log.20260101-000000.006',
      '0.log.20260101-000000.007',
      '0.log.20260101-000000.008',
      '10.log',
    ])
    expect(readFileSync(join(folder, names[3]!), 'utf8')).toBe('part 8')
    removeLogs(path)
    expect(readdirSync(folder)).toEqual(['10.log'])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
