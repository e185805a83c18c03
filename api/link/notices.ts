import type { ObjectKey } from '../resources.ts'

/**
 * Something that happened at a gateway and that a person should know, as the link and the local API carry it. Equal
 * happenings are one item whose count grows.
 */
export interface NoticeItem {
  /** Names this item: unique for the gateway, also over restarts of its agent. */
  readonly id: string
  /** The device it is about, or `gateway`. */
  readonly about: ObjectKey | 'gateway'
  /** It is no device but a pod. */
  readonly pod?: true
  readonly type: 'Normal' | 'Warning'
  /** CamelCase. */
  readonly reason: string
  /** The newest one of this item. */
  readonly message: string
  /** How often it happened since `firstMs`. */
  readonly count: number
  /** Milliseconds since 1970 by the gateway's clock. */
  readonly firstMs: number
  readonly lastMs: number
}

/** The limits of one item, in UTF-16 units. */
export const NOTICE_LIMITS = { id: 64, about: 320, reason: 128, message: 1024 } as const

/** Items of one frame at most. */
export const MAX_NOTICE_ITEMS = 100

const REASON = /^[A-Z][A-Za-z0-9]*$/

/** Whether something from outside is an item within the limits. */
export function isNoticeItem(value: unknown): value is NoticeItem {
  if (typeof value !== 'object' || value === null) return false
  const { id, about, pod, type, reason, message, count, firstMs, lastMs } = value as Record<string, unknown>
  return (
    isText(id, NOTICE_LIMITS.id) &&
    isText(about, NOTICE_LIMITS.about) &&
    (about === 'gateway' || /^[^/]+\/[^/]+$/.test(about)) &&
    (pod === undefined || pod === true) &&
    (type === 'Normal' || type === 'Warning') &&
    isText(reason, NOTICE_LIMITS.reason) &&
    REASON.test(reason) &&
    isText(message, NOTICE_LIMITS.message) &&
    Number.isSafeInteger(count) &&
    (count as number) > 0 &&
    isTime(firstMs) &&
    isTime(lastMs)
  )
}

/** A reason as Kubernetes wants it: CamelCase; whatever else it was given. */
export function noticeReason(text: string): string {
  const words = text.split(/[^A-Za-z0-9]+/).filter((word) => word !== '')
  const joined = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('')
  return (/^[A-Z]/.test(joined) ? joined : `Notice${joined}`).slice(0, NOTICE_LIMITS.reason)
}

const isText = (value: unknown, maxLength: number): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= maxLength

const isTime = (value: unknown): value is number => typeof value === 'number' && Math.abs(value) <= 8.64e15
