// Endpoint Medic in a subscription: one app, what it writes, what it hears, and the least rights for what its mode permits.
targetScope = 'subscription'

@description('Name of the environment; names and tags of all resources derive from it.')
@minLength(1)
@maxLength(32)
param environmentName string

@description('Region of all that has one.')
@minLength(1)
param location string

@description('Object id of whoever deploys: may set secrets in the vault. Empty: nobody may.')
param deployerId string = ''

@description('What whoever deploys is.')
@allowed(['User', 'ServicePrincipal'])
param deployerType string = 'User'

@description('The most that the app may do at all. The rights to write are deployed with ask and auto only.')
@allowed(['off', 'dry-run', 'ask', 'auto'])
param mode string = 'dry-run'

@description('Comma-separated resource ids of the subscriptions and resource groups to watch; empty: this subscription.')
param watch string = ''

@description('System topics that stand already, as comma-separated <source resource id>=<topic resource id>: Azure allows one for each source.')
param existingTopics string = ''

@description('Workspaces whose ModelDeployed events corroborate repairs, as comma-separated <location>=<workspace resource id>; empty: none.')
param modelDeployedWorkspaces string = ''

@description('Comma-separated ids of resource groups on whose registries and storage accounts roles may be granted; empty: none.')
param grantScopes string = ''

@description('Comma-separated object ids of identities whose granted roles may be taken back; empty: none.')
param undoPrincipals string = ''

@description('Client id of the app registration for sign-in, which the preprovision hook always gives; empty: nobody can sign in.')
param signInClientId string = ''

@description('Which of the keys in the secret medic-approval-keys signs links; empty: the first.')
param approvalActiveKid string = ''

@description('Whether the secret medic-teams-url is in the vault.')
@allowed(['true', 'false'])
param tellTeams string = 'false'

@description('Whether the secret medic-webhook-url is in the vault.')
@allowed(['true', 'false'])
param tellWebhook string = 'false'

@description('Whether there is a topic that gets a CloudEvent of each message.')
@allowed(['true', 'false'])
param outcomeTopic string = 'false'

@description('How often the records are kept.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param recordsSku string = 'Standard_LRS'

@description('Whether the immutability policy of the trail was locked: a locked one refuses to be deployed again.')
@allowed(['true', 'false'])
param trailLocked string = 'false'

@description('Where alerts are mailed to; empty: they fire without mail.')
param alertEmail string = ''

// ------------------------------------------------------------------------------------------------------ names

var abbreviations = loadJsonContent('abbreviations.json')
var resourceToken = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var homeSubscription = toLower(subscription().subscriptionId)
var groupName = '${abbreviations.resourceGroup}medic-${environmentName}'
// Elsewhere another deployment, whose environment has the same name, may watch as well: each has a group of its own there.
var topicGroupName = '${groupName}-${resourceToken}'
var topicPrefix = '${abbreviations.eventGridSystemTopic}medic-'
var roleSuffix = '${environmentName} ${resourceToken}'

// ----------------------------------------------------------------------------------------------------- scopes

var canAct = contains(['ask', 'auto'], mode)
var listed = filter(map(split(watch, ','), each => trim(each)), each => !empty(each))
var watched = empty(listed) ? [subscription().id] : listed
var watchedSubscriptions = union(map(watched, each => toLower(split(each, '/')[2])), [])
var watchedGroups = filter(watched, each => length(split(each, '/')) > 3)
var wholeSubscriptions = filter(watched, each => length(split(each, '/')) == 3)
var watchedLowered = map(watched, each => toLower(each))

var grantable = filter(map(split(grantScopes, ','), each => trim(each)), each => !empty(each))
var grantableSubscriptions = union(map(grantable, each => toLower(split(each, '/')[2])), [])
var undoable = filter(map(split(undoPrincipals, ','), each => trim(each)), each => !empty(each))

// Registries and storage accounts may lie outside of all that is watched. What lies inside is readable already.
var grantableElsewhere = filter(
  grantable,
  each => !contains(watchedLowered, toLower(each)) && !contains(watchedLowered, '/subscriptions/${toLower(split(each, '/')[2])}')
)
var readableGroups = concat(watchedGroups, grantableElsewhere)
var readingSubscriptions = union(watchedSubscriptions, grantableSubscriptions)

// What needs a mode that acts is made for these, and these are none in any other mode.
var actingSubscriptions = canAct ? watchedSubscriptions : []
var actingWholeSubscriptions = canAct ? wholeSubscriptions : []
var actingGroups = canAct ? watchedGroups : []
var grantingSubscriptions = canAct ? grantableSubscriptions : []
var grantingGroups = canAct ? grantable : []
var undoingSubscriptions = canAct && !empty(undoable) ? grantableSubscriptions : []
var undoingGroups = canAct && !empty(undoable) ? grantable : []

// ----------------------------------------------------------------------------------------------------- topics

var standing = filter(map(split(existingTopics, ','), each => trim(each)), each => !empty(each))
var standingSources = map(standing, each => toLower(split(each, '=')[0]))
var workspaces = filter(map(split(modelDeployedWorkspaces, ','), each => trim(each)), each => !empty(each))
var workspaceIds = map(workspaces, each => split(each, '=')[1])
var workspacesLowered = map(workspaceIds, each => toLower(each))

var standingForWatched = filter(standing, each => contains(watchedLowered, toLower(split(each, '=')[0])))
var standingForWorkspaces = filter(standing, each => contains(workspacesLowered, toLower(split(each, '=')[0])))
var standingTopics = map(concat(standingForWatched, standingForWorkspaces), each => split(each, '=')[1])

var newForWatched = filter(watched, each => !contains(standingSources, toLower(each)))
var newForWorkspaces = filter(workspaces, each => !contains(standingSources, toLower(split(each, '=')[1])))
var newWatchedTopics = map(newForWatched, each => {
  source: each
  group: toLower(split(each, '/')[2]) == homeSubscription ? groupName : topicGroupName
  location: 'global'
  topicType: length(split(each, '/')) == 3 ? 'Microsoft.Resources.Subscriptions' : 'Microsoft.Resources.ResourceGroups'
})
var newWorkspaceTopics = map(newForWorkspaces, each => {
  source: split(each, '=')[1]
  group: toLower(split(each, '/')[2]) == homeSubscription ? groupName : topicGroupName
  location: split(each, '=')[0]
  topicType: 'Microsoft.MachineLearningServices.Workspaces'
})
var newTopics = concat(newWatchedTopics, newWorkspaceTopics)
var topicSubscriptions = union(map(newTopics, each => toLower(split(each.source, '/')[2])), [])
var topicSubscriptionsElsewhere = filter(topicSubscriptions, each => each != homeSubscription)

// Ids, not outputs: a list of outputs cannot be joined, and the topics are deployed before anything reads these.
var systemTopicIds = concat(
  map(newWatchedTopics, each => '/subscriptions/${split(each.source, '/')[2]}/resourceGroups/${each.group}/providers/Microsoft.EventGrid/systemTopics/${topicPrefix}${uniqueString(resourceToken, toLower(each.source))}'),
  map(standingForWatched, each => split(each, '=')[1])
)
var workspaceTopicIds = concat(
  map(newWorkspaceTopics, each => '/subscriptions/${split(each.source, '/')[2]}/resourceGroups/${each.group}/providers/Microsoft.EventGrid/systemTopics/${topicPrefix}${uniqueString(resourceToken, toLower(each.source))}'),
  map(standingForWorkspaces, each => split(each, '=')[1])
)

// ---------------------------------------------------------------------------------------------------- the app

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: groupName
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: '${abbreviations.managedIdentity}medic-${resourceToken}'
    location: location
    tags: tags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    workspaceName: '${abbreviations.logAnalytics}medic-${resourceToken}'
    insightsName: '${abbreviations.applicationInsights}medic-${resourceToken}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
  }
}

module runtimeStorage 'modules/runtime_storage.bicep' = {
  name: 'runtime-storage'
  scope: group
  params: {
    name: '${abbreviations.storageAccount}run${resourceToken}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
  }
}

module storeDefinition 'modules/custom_role.bicep' = {
  name: 'medic-store-${resourceToken}'
  params: {
    name: guid(homeSubscription, resourceToken, 'store')
    role: loadJsonContent('rbac/store.role.json')
    suffix: roleSuffix
  }
}

module records 'modules/records.bicep' = {
  name: 'records'
  scope: group
  params: {
    name: '${abbreviations.storageAccount}rec${resourceToken}'
    location: location
    tags: tags
    sku: recordsSku
    principalId: identity.outputs.principalId
    storeRole: storeDefinition.outputs.name
    trailLocked: trailLocked == 'true'
  }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    name: '${abbreviations.keyVault}medic-${resourceToken}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
    deployerId: deployerId
    deployerType: deployerType
  }
}

module outcomes 'modules/outcome_topic.bicep' = if (outcomeTopic == 'true') {
  name: 'outcomes'
  scope: group
  params: {
    name: '${abbreviations.eventGridTopic}medic-${resourceToken}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
  }
}

module functionApp 'modules/function_app.bicep' = {
  name: 'function-app'
  scope: group
  params: {
    name: '${abbreviations.functionApp}medic-${resourceToken}'
    planName: '${abbreviations.plan}medic-${resourceToken}'
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    identityPrincipalId: identity.outputs.principalId
    storageName: runtimeStorage.outputs.name
    packageUrl: runtimeStorage.outputs.packageUrl
    insightsName: monitoring.outputs.insightsName
    vaultName: vault.outputs.name
    store: records.outputs.blobEndpoint
    watched: join(watched, ',')
    mode: mode
    approvalActiveKid: approvalActiveKid
    tellTeams: tellTeams == 'true'
    tellWebhook: tellWebhook == 'true'
    outcomeEndpoint: outcomeTopic == 'true' ? outcomes!.outputs.endpoint : ''
  }
}

module signIn 'modules/sign_in.bicep' = if (!empty(signInClientId)) {
  name: 'sign-in'
  scope: group
  params: {
    appName: functionApp.outputs.name
    clientId: signInClientId
  }
}

// ------------------------------------------------------------------------------------------- what the app hears

module topicGroups 'modules/resource_group.bicep' = [for id in topicSubscriptionsElsewhere: {
  name: 'medic-topics-${resourceToken}'
  scope: subscription(id)
  params: {
    name: topicGroupName
    location: location
    tags: tags
  }
}]

module topics 'modules/topic.bicep' = [for topic in newTopics: {
  name: 'topic-${uniqueString(topic.source)}'
  scope: resourceGroup(split(topic.source, '/')[2], topic.group)
  params: {
    name: '${topicPrefix}${uniqueString(resourceToken, toLower(topic.source))}'
    location: topic.location
    tags: tags
    source: topic.source
    topicType: topic.topicType
  }
  dependsOn: [group, topicGroups]
}]

module topicsThatStood 'modules/existing_topic.bicep' = [for id in standingTopics: {
  name: 'medic-topic-${uniqueString(resourceToken, id)}'
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  params: {
    name: last(split(id, '/'))
  }
}]

module deadLetterRoles 'modules/dead_letter_role.bicep' = [for (topic, i) in newTopics: {
  name: 'dead-letters-${uniqueString(topic.source)}'
  scope: group
  params: {
    recordsName: records.outputs.name
    principalId: topics[i].outputs.principalId
  }
}]

module deadLetterRolesOfStanding 'modules/dead_letter_role.bicep' = [for (id, i) in standingTopics: {
  name: 'dead-letters-${uniqueString(id)}'
  scope: group
  params: {
    recordsName: records.outputs.name
    principalId: topicsThatStood[i].outputs.principalId
  }
}]

// ------------------------------------------------------------------------------------------- what the app may do
// A definition stands in the subscription where it is assigned; its GUID is computed alike in both places.

// What Azure keeps on the subscription itself is read there, also if one group of it is watched; all else where it lies.
module subscriptionReaderDefinitions 'modules/custom_role.bicep' = [for id in watchedSubscriptions: {
  name: 'medic-subscription-reader-${resourceToken}'
  scope: subscription(id)
  params: {
    name: guid(id, resourceToken, 'subscription-reader')
    role: loadJsonContent('rbac/subscription-reader.role.json')
    suffix: '${roleSuffix} ${id}'
  }
}]

module subscriptionReaders 'modules/subscription_role.bicep' = [for id in watchedSubscriptions: {
  name: 'medic-reads-subscription-${resourceToken}'
  scope: subscription(id)
  params: {
    role: guid(id, resourceToken, 'subscription-reader')
    principalId: identity.outputs.principalId
  }
  dependsOn: [subscriptionReaderDefinitions]
}]

module readerDefinitions 'modules/custom_role.bicep' = [for id in readingSubscriptions: {
  name: 'medic-reader-${resourceToken}'
  scope: subscription(id)
  params: {
    name: guid(id, resourceToken, 'reader')
    role: loadJsonContent('rbac/reader.role.json')
    suffix: '${roleSuffix} ${id}'
  }
}]

module readers 'modules/subscription_role.bicep' = [for id in wholeSubscriptions: {
  name: 'medic-reads-${resourceToken}'
  scope: subscription(split(id, '/')[2])
  params: {
    role: guid(toLower(split(id, '/')[2]), resourceToken, 'reader')
    principalId: identity.outputs.principalId
  }
  dependsOn: [readerDefinitions]
}]

module groupReaders 'modules/group_role.bicep' = [for id in readableGroups: {
  name: 'medic-reads-${resourceToken}'
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  params: {
    role: guid(toLower(split(id, '/')[2]), resourceToken, 'reader')
    principalId: identity.outputs.principalId
  }
  dependsOn: [readerDefinitions]
}]

module registryReaderDefinitions 'modules/custom_role.bicep' = [for id in grantableSubscriptions: {
  name: 'medic-registry-reader-${resourceToken}'
  scope: subscription(id)
  params: {
    name: guid(id, resourceToken, 'registry-reader')
    role: loadJsonContent('rbac/registry-reader.role.json')
    suffix: '${roleSuffix} ${id}'
  }
}]

module registryReaders 'modules/group_role.bicep' = [for id in grantable: {
  name: 'medic-reads-registries-${resourceToken}'
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  params: {
    role: guid(toLower(split(id, '/')[2]), resourceToken, 'registry-reader')
    principalId: identity.outputs.principalId
  }
  dependsOn: [registryReaderDefinitions]
}]

module operatorDefinitions 'modules/custom_role.bicep' = [for id in actingSubscriptions: {
  name: 'medic-operator-${resourceToken}'
  scope: subscription(id)
  params: {
    name: guid(id, resourceToken, 'operator')
    role: loadJsonContent('rbac/operator.role.json')
    suffix: '${roleSuffix} ${id}'
  }
}]

module operators 'modules/subscription_role.bicep' = [for id in actingWholeSubscriptions: {
  name: 'medic-operates-${resourceToken}'
  scope: subscription(split(id, '/')[2])
  params: {
    role: guid(toLower(split(id, '/')[2]), resourceToken, 'operator')
    principalId: identity.outputs.principalId
  }
  dependsOn: [operatorDefinitions]
}]

module groupOperators 'modules/group_role.bicep' = [for id in actingGroups: {
  name: 'medic-operates-${resourceToken}'
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  params: {
    role: guid(toLower(split(id, '/')[2]), resourceToken, 'operator')
    principalId: identity.outputs.principalId
  }
  dependsOn: [operatorDefinitions]
}]

module granterDefinitions 'modules/custom_role.bicep' = [for id in grantingSubscriptions: {
  name: 'medic-granter-${resourceToken}'
  scope: subscription(id)
  params: {
    name: guid(id, resourceToken, 'granter')
    role: loadJsonContent('rbac/granter.role.json')
    suffix: '${roleSuffix} ${id}'
  }
}]

module granters 'modules/grant_role.bicep' = [for id in grantingGroups: {
  name: 'medic-grants-${resourceToken}'
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  params: {
    role: guid(toLower(split(id, '/')[2]), resourceToken, 'granter')
    principalId: identity.outputs.principalId
    condition: trim(loadTextContent('rbac/granter.condition.txt'))
  }
  dependsOn: [granterDefinitions]
}]

module undoDefinitions 'modules/custom_role.bicep' = [for id in undoingSubscriptions: {
  name: 'medic-undo-${resourceToken}'
  scope: subscription(id)
  params: {
    name: guid(id, resourceToken, 'undo')
    role: loadJsonContent('rbac/undo.role.json')
    suffix: '${roleSuffix} ${id}'
  }
}]

module undoers 'modules/grant_role.bicep' = [for id in undoingGroups: {
  name: 'medic-undoes-${resourceToken}'
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  params: {
    role: guid(toLower(split(id, '/')[2]), resourceToken, 'undo')
    principalId: identity.outputs.principalId
    condition: replace(trim(loadTextContent('rbac/undo.condition.txt')), '<principal-ids>', join(undoable, ', '))
  }
  dependsOn: [undoDefinitions]
}]

// ------------------------------------------------------------------------------------------------- what is watched

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    topicIds: concat(systemTopicIds, workspaceTopicIds)
    alertEmail: alertEmail
  }
  dependsOn: [topics]
}

module workbook 'modules/workbook.bicep' = {
  name: 'workbook'
  scope: group
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    applicationInsightsId: monitoring.outputs.insightsId
    functionAppId: functionApp.outputs.id
    topicIds: concat(systemTopicIds, workspaceTopicIds)
  }
}

// ---------------------------------------------------------------------------------------- for the hooks, and for you

@description('Resource group of all that belongs to the app.')
output AZURE_RESOURCE_GROUP string = groupName

@description('The one tenant whose people and programs may sign in.')
output AZURE_TENANT_ID string = subscription().tenantId

@description('Name of the function app.')
output SERVICE_MEDIC_NAME string = functionApp.outputs.name

@description('Where people reach it.')
output SERVICE_MEDIC_URI string = functionApp.outputs.uri

@description('Name of the vault, into which postprovision puts the keys.')
output ENDPOINT_MEDIC_VAULT string = vault.outputs.name

@description('Object id of the app\'s identity, which the app registration is to trust.')
output ENDPOINT_MEDIC_IDENTITY_PRINCIPAL_ID string = identity.outputs.principalId

@description('Comma-separated ids of what is watched.')
output ENDPOINT_MEDIC_WATCHED string = join(watched, ',')

@description('Blob endpoint of the records: what `medic audit verify --store` takes.')
output ENDPOINT_MEDIC_STORE string = records.outputs.blobEndpoint

@description('Resource id of the account that holds the records and the container `deadletters`.')
output ENDPOINT_MEDIC_RECORDS_ID string = records.outputs.id

@description('Comma-separated ids of the topics to subscribe to failures.')
output ENDPOINT_MEDIC_SYSTEM_TOPICS string = join(systemTopicIds, ',')

@description('Comma-separated ids of the topics to subscribe to ModelDeployed.')
output ENDPOINT_MEDIC_WORKSPACE_TOPICS string = join(workspaceTopicIds, ',')
