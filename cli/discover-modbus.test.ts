import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { foreignTcpServer } from '../mappers/modbus/foreign-server.test-helper.ts'
import { runCommand } from './main.ts'
import { EXIT } from './verb.ts'

const units = { getHoldingRegister: (address: number) => address, getInputRegister: (address: number) => address }

it('a scan over TCP says how long it takes, and when no unit answers nothing about wires', async () => {
  const { port, close } = await foreignTcpServer(units, 3)
  const data = mkdtempSync(join(tmpdir(), 'sluice-scan-'))
  try {
    const scan = async (asked: string) => {
      let stdout = ''
      let stderr = ''
      const argv = ['discover', 'modbus', '--host', `127.0.0.1:${port}`, '--units', asked, '--timeout', '50ms']
      const code = await runCommand([...argv, '--data', data], {
        stdout: { write: (text) => (stdout += text), columns: 100 },
        stderr: { write: (text) => (stderr += text) },
        env: {},
        signal: new AbortController().signal,
      })
      return { code, stdout, stderr }
    }
    const nobody = await scan('7')
    expect(nobody.code).toBe(EXIT.failure)
    expect(nobody.stderr).toContain('Asking 1 unit: at most about 1 s.')
    expect(nobody.stderr).toContain('no unit answered')
    expect(nobody.stderr).not.toContain('A and B')
    const somebody = await scan('3')
    expect(somebody.code).toBe(EXIT.ok)
    expect(somebody.stdout).toContain('unit 3')
  } finally {
    await close()
    rmSync(data, { recursive: true, force: true })
  }
})
