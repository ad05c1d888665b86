"""Commands and sentences that several causes share."""

IN_WORKSPACE = "-g {resource_group} -w {workspace}"
SHOW_ENDPOINT = f"az ml online-endpoint show -n {{endpoint}} {IN_WORKSPACE}"
SHOW_DEPLOYMENT = f"az ml online-deployment show -e {{endpoint}} -n {{deployment}} {IN_WORKSPACE}"
GET_LOGS = f"az ml online-deployment get-logs -e {{endpoint}} -n {{deployment}} {IN_WORKSPACE} -l 100"
GET_INIT_LOGS = f"{GET_LOGS} --container storage-initializer"
DEPLOY_LOCALLY = f"az ml online-deployment create -e {{endpoint}} -n {{deployment}} {IN_WORKSPACE} -f SPEC_FILE --local"
IDENTITY = f"{SHOW_ENDPOINT} --query identity"
_ASSIGN = "az role assignment create --assignee-object-id PRINCIPAL_ID --assignee-principal-type ServicePrincipal"
ASSIGN_PULL = f"{_ASSIGN} --role AcrPull --scope REGISTRY_ID"
ASSIGN_READ = f"{_ASSIGN} --role 'Storage Blob Data Reader' --scope STORAGE_ACCOUNT_ID"
ASSIGNMENTS = "az role assignment list --assignee PRINCIPAL_ID --all -o table"
EXTENSION = (
    "az k8s-extension list --cluster-name CLUSTER --cluster-type CLUSTER_TYPE -g CLUSTER_RESOURCE_GROUP -o table"
)
AML_PODS = "kubectl -n azureml get pods"

NO_CODE = "It changes no code, and runs nothing again that would fail again."
NO_CLUSTER = "It changes nothing in a cluster."
NO_SPEC = "It changes no specification: that is its author's."
