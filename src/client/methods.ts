import type { auditList } from "../protocol/api/audit.ts";
import type {
  authSessionCreate,
  authSessionList,
  authSessionRevoke,
  authSessionValidate,
} from "../protocol/api/auth.ts";
import type { ticketCreate, tokenCreate, tokenList, tokenRevoke, tokenRotate } from "../protocol/api/auth.ts";
import type { chatAbort, chatHistory, chatInject, chatSend } from "../protocol/api/chat.ts";
import type {
  deviceApprove,
  deviceList,
  deviceRegister,
  deviceReject,
  deviceRename,
  deviceRevoke,
} from "../protocol/api/device.ts";
import type { eventBroadcast, eventSend } from "../protocol/api/event.ts";
import type { hookCreate, hookDelete, hookList, hookRotate, hookUpdate } from "../protocol/api/hook.ts";
import type { logTail } from "../protocol/api/log.ts";
import type { sessionImport } from "../protocol/api/import.ts";
import type { modelList, runCreate, runGet, runList, runWait } from "../protocol/api/run.ts";
import type {
  presenceList,
  sessionCompact,
  sessionTitle,
  sessionCreate,
  sessionDelete,
  sessionFork,
  sessionGet,
} from "../protocol/api/session.ts";
import type {
  scheduleCreate,
  scheduleDelete,
  scheduleList,
  scheduleRun,
  scheduleUpdate,
} from "../protocol/api/schedule.ts";
import type {
  webhookCreate,
  webhookDelete,
  webhookDeliveries,
  webhookList,
  webhookRedeliver,
  webhookRotate,
  webhookTest,
  webhookUpdate,
} from "../protocol/api/webhook.ts";
import type { sessionSearch } from "../protocol/api/search.ts";
import type { sessionList, sessionShare, sessionSubscribe } from "../protocol/api/session.ts";
import type { sessionUnshare, sessionUnsubscribe, sessionUpdate } from "../protocol/api/session.ts";
import type { pluginList, pluginReload } from "../protocol/api/plugin.ts";
import type { skillList, skillReload } from "../protocol/api/skill.ts";
import type { clientDisconnect, clientList, connect, heartbeat } from "../protocol/api/system.ts";
import type {
  systemDescribe,
  systemInfo,
  systemReload,
  systemStats,
  systemStatus,
} from "../protocol/api/system.ts";
import type { toolApprove, toolList } from "../protocol/api/tool.ts";
import type { usageGet } from "../protocol/api/usage.ts";
import type { userDelete, userDisable, userList } from "../protocol/api/user.ts";
import type { ParamsOf, ResultOf } from "../protocol/methods.ts";

/** The methods whose params and results have types here; any other name can be called too. */
export interface Methods {
  "system.info": typeof systemInfo;
  "system.status": typeof systemStatus;
  "system.reload": typeof systemReload;
  "system.stats": typeof systemStats;
  "system.describe": typeof systemDescribe;
  heartbeat: typeof heartbeat;
  "chat.send": typeof chatSend;
  "chat.history": typeof chatHistory;
  "chat.abort": typeof chatAbort;
  "chat.inject": typeof chatInject;
  "session.create": typeof sessionCreate;
  "session.get": typeof sessionGet;
  "session.update": typeof sessionUpdate;
  "session.fork": typeof sessionFork;
  "session.import": typeof sessionImport;
  "session.compact": typeof sessionCompact;
  "session.title": typeof sessionTitle;
  "session.delete": typeof sessionDelete;
  "session.share": typeof sessionShare;
  "session.unshare": typeof sessionUnshare;
  "session.list": typeof sessionList;
  "session.search": typeof sessionSearch;
  "session.subscribe": typeof sessionSubscribe;
  "session.unsubscribe": typeof sessionUnsubscribe;
  "presence.list": typeof presenceList;
  "tool.list": typeof toolList;
  "tool.approve": typeof toolApprove;
  "run.create": typeof runCreate;
  "run.get": typeof runGet;
  "run.list": typeof runList;
  "run.wait": typeof runWait;
  "model.list": typeof modelList;
  "skill.list": typeof skillList;
  "skill.reload": typeof skillReload;
  "plugin.list": typeof pluginList;
  "plugin.reload": typeof pluginReload;
  "client.list": typeof clientList;
  "client.disconnect": typeof clientDisconnect;
  "event.broadcast": typeof eventBroadcast;
  "event.send": typeof eventSend;
  "hook.create": typeof hookCreate;
  "hook.list": typeof hookList;
  "hook.update": typeof hookUpdate;
  "hook.rotate": typeof hookRotate;
  "hook.delete": typeof hookDelete;
  "schedule.create": typeof scheduleCreate;
  "schedule.list": typeof scheduleList;
  "schedule.update": typeof scheduleUpdate;
  "schedule.delete": typeof scheduleDelete;
  "schedule.run": typeof scheduleRun;
  "webhook.create": typeof webhookCreate;
  "webhook.list": typeof webhookList;
  "webhook.update": typeof webhookUpdate;
  "webhook.rotate": typeof webhookRotate;
  "webhook.delete": typeof webhookDelete;
  "webhook.test": typeof webhookTest;
  "webhook.deliveries": typeof webhookDeliveries;
  "webhook.redeliver": typeof webhookRedeliver;
  "token.create": typeof tokenCreate;
  "token.list": typeof tokenList;
  "token.rotate": typeof tokenRotate;
  "token.revoke": typeof tokenRevoke;
  "device.register": typeof deviceRegister;
  "device.list": typeof deviceList;
  "device.approve": typeof deviceApprove;
  "device.reject": typeof deviceReject;
  "device.revoke": typeof deviceRevoke;
  "device.rename": typeof deviceRename;
  "auth_session.create": typeof authSessionCreate;
  "auth_session.validate": typeof authSessionValidate;
  "auth_session.list": typeof authSessionList;
  "auth_session.revoke": typeof authSessionRevoke;
  "ticket.create": typeof ticketCreate;
  "audit.list": typeof auditList;
  "log.tail": typeof logTail;
  "usage.get": typeof usageGet;
  "user.list": typeof userList;
  "user.disable": typeof userDisable;
  "user.delete": typeof userDelete;
}

export type MethodName = keyof Methods | (string & {});
export type ParamsFor<M extends string> = M extends keyof Methods
  ? ParamsOf<Methods[M]>
  : Record<string, unknown>;
export type ResultFor<M extends string> = M extends keyof Methods ? ResultOf<Methods[M]> : unknown;

/** What the gateway says of itself and of the caller when a connection is made. */
export type Hello = ResultOf<typeof connect>;
/** How a subscription starts: from a cursor, or from a snapshot that replaces what was known. */
export type Opening = ResultOf<typeof sessionSubscribe>;
