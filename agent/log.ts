import type { Json } from '../api/resources.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type LogFields = Readonly<Record<string, Json>>

/** One line an event. Fields never carry secrets: keys, tokens and certificates are not logged. */
export type Log = (level: LogLevel, message: string, fields?: LogFields) => void

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 }

export interface LogOptions {
  readonly level?: LogLevel
  readonly format?: 'text' | 'json'
  readonly write?: (line: string) => void
  readonly now?: () => number
}

/** Writes to stderr by default, so that stdout stays for what a program reads. */
export function createLog(options: LogOptions = {}): Log {
  const threshold = RANK[options.level ?? 'info']
  const write = options.write ?? ((line: string) => void process.stderr.write(line))
  const now = options.now ?? Date.now
  return (level, message, fields) => {
    if (RANK[level] < threshold) return
    const at = new Date(now()).toISOString()
    if (options.format === 'json') {
      write(`${JSON.stringify({ at, level, message, ...fields })}\n`)
      return
    }
    const details = Object.entries(fields ?? {})
      .map(
        ([name, value]) =>
          ` ${name}=${typeof value === 'string' && !/[\s"=]/.test(value) ? value : JSON.stringify(value)}`,
      )
      .join('')
    write(`${at} ${level.padEnd(5)} ${message.replaceAll('\n', ' ')}${details}\n`)
  }
}

export const silentLog: Log = () => {}
