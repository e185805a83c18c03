import type { Json } from '../../api/resources.ts'
import { COUNTED, type CountedKey, TEXTS, type TextKey } from './texts.ts'

export type Language = 'en' | 'de'

const kept = localStorage.getItem('sluice-language')
export const language: Language =
  kept === 'en' || kept === 'de' ? kept : navigator.language.startsWith('de') ? 'de' : 'en'
export const locale = language === 'de' ? 'de-DE' : 'en-GB'
document.documentElement.lang = language

export function switchLanguage(): void {
  localStorage.setItem('sluice-language', language === 'de' ? 'en' : 'de')
  location.reload()
}

/** A text in the reader's language. */
export function t(key: TextKey, parts: Readonly<Record<string, string | number>> = {}): string {
  const text: string = TEXTS[key][language === 'de' ? 1 : 0]
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(parts[name] ?? whole))
}

const pluralRules = new Intl.PluralRules(locale)

/** So many of something, in words. */
export function count(key: CountedKey, n: number): string {
  const [one, other]: readonly [string, string] = COUNTED[key][language === 'de' ? 1 : 0]
  return (pluralRules.select(n) === 'one' ? one : other).replace('{n}', formatted(n, { maximumFractionDigits: 2 }))
}

/** The text of a word the API uses, or the word itself when there is none. */
export const word = (name: string): string => (name in TEXTS ? t(name as TextKey) : name)

const UNITS: Readonly<Record<string, string>> = { degC: '°C', degF: '°F', deg: '°', ohm: 'Ω', uS: 'µS', m3: 'm³' }

/** A unit as people write it. */
export const unitOf = (unit: string | undefined): string => (unit === undefined ? '' : (UNITS[unit] ?? unit))

const numberFormats = new Map<string, Intl.NumberFormat>()

/** Making a format takes a hundred times as long as using it. */
function formatted(value: number, options: Intl.NumberFormatOptions): string {
  const key = JSON.stringify(options)
  let format = numberFormats.get(key)
  if (format === undefined) numberFormats.set(key, (format = new Intl.NumberFormat(locale, options)))
  return format.format(value)
}

const momentFormat = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'medium' })
const timeFormat = new Intl.DateTimeFormat(locale, { timeStyle: 'medium' })

/** With a step, as many decimals as its multiples have; else six digits, which no sensor exceeds. */
export function number(value: number, step?: number): string {
  if (step !== undefined && step > 0) {
    const digits = Math.min(10, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)))
    return formatted(value, { minimumFractionDigits: digits, maximumFractionDigits: digits })
  }
  return formatted(value, { maximumSignificantDigits: 6, useGrouping: Math.abs(value) >= 10_000 })
}

/** A value without its unit. */
export function plain(value: Json | undefined, step?: number): string {
  if (value === undefined || value === null) return '–'
  if (typeof value === 'number') return number(value, step)
  if (typeof value === 'boolean') return value ? t('on') : t('off')
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** A narrow space keeps number and unit together. */
export const withUnit = (text: string, unit: string | undefined): string =>
  unit === undefined || unit === '' ? text : `${text}\u202f${unitOf(unit)}`

export function figure(value: number | undefined, unit: string, digits = 1): string {
  if (value === undefined) return '–'
  const text = formatted(value, { maximumFractionDigits: Math.abs(value) >= 100 ? 0 : digits })
  return withUnit(text, unit)
}

export const percent = (share: number | undefined, digits = 0): string =>
  share === undefined ? '–' : figure(share * 100, '%', digits)

export function watts(value: number | undefined): string {
  if (value === undefined) return '–'
  if (value >= 10_000) return figure(value / 1000, 'kW', 2)
  if (value < 0.1 && value > 0) return figure(value * 1000, 'mW', value < 0.01 ? 2 : 1)
  return figure(value, 'W', value < 10 ? 2 : 1)
}

/** Joules as people pay for them. */
export function energy(joules: number | undefined): string {
  if (joules === undefined) return '–'
  const wh = joules / 3600
  return wh >= 1000 ? figure(wh / 1000, 'kWh', 2) : figure(wh, 'Wh', wh < 10 ? 2 : 1)
}

export function bytes(value: number | undefined): string {
  if (value === undefined) return '–'
  if (value < 1024) return figure(value, 'B', 0)
  if (value < 1024 ** 2) return figure(value / 1024, 'KiB')
  return value < 1024 ** 3 ? figure(value / 1024 ** 2, 'MiB') : figure(value / 1024 ** 3, 'GiB')
}

/** Thousandths of a processor core, as people say them. */
export const cores = (milli: number): string => count('cores', milli / 1000)
export const ofCores = (milli: number): string => count('ofCores', milli / 1000)

export function span(ms: number): string {
  const s = Math.max(0, ms / 1000)
  if (s < 60) return `${Math.floor(s)}\u202fs`
  if (s < 3600) return `${Math.floor(s / 60)}\u202fmin`
  if (s < 86_400) return `${Math.floor(s / 3600)}\u202fh ${Math.floor((s % 3600) / 60)}\u202fmin`
  return `${Math.floor(s / 86_400)}\u202fd`
}

export function ago(at: string | undefined): string {
  if (at === undefined) return '–'
  const ms = Date.now() - Date.parse(at)
  return ms < 2_000 ? t('now') : t('ago', { age: span(ms) })
}

export const moment = (at: string): string => momentFormat.format(new Date(at))

export const clockTime = (at: string | number): string => timeFormat.format(new Date(at))
